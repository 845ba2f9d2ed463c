/// Every code block of README, guide and site is compiled and run as it is printed. What a block does not define itself (model, batches,
/// ...) is in Given.cs and Given.fsx.
module DocumentTests

open System
open System.Collections.Immutable
open System.Diagnostics
open System.IO
open System.Reflection
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Microsoft.CodeAnalysis
open Microsoft.CodeAnalysis.CSharp
open Microsoft.CodeAnalysis.CSharp.Syntax
open Blocks

/// Runs something in an empty folder that is deleted afterwards.
let private inFolder action =
    let folder = Directory.CreateTempSubdirectory("optim-documents").FullName
    let before = Environment.CurrentDirectory
    Environment.CurrentDirectory <- folder

    try
        action folder
    finally
        Environment.CurrentDirectory <- before
        Directory.Delete(folder, true)

// C#

let private references =
    lazy
        (let trusted = string (AppContext.GetData "TRUSTED_PLATFORM_ASSEMBLIES")

         trusted.Split Path.PathSeparator
         |> Array.map (fun path -> MetadataReference.CreateFromFile path :> MetadataReference))

let private options = CSharpParseOptions(LanguageVersion.Latest)

let private given =
    lazy
        (let path = Path.Combine(AppContext.BaseDirectory, "Documents", "Given.cs")
         CSharpSyntaxTree.ParseText(File.ReadAllText path, options, path))

/// The usings that a project of the SDK has by itself, and what the pages take as given.
let private implicitUsings =
    let names =
        [
            "System"
            "System.Collections.Generic"
            "System.IO"
            "System.Linq"
            "System.Threading"
            "System.Threading.Tasks"
        ]

    String.Join("\n", names |> List.map (fun name -> $"global using global::{name};"))
    + "\nglobal using static Given;"

/// One program out of blocks: usings first, then statements, then types, each with its line on the page.
let private program (blocks: Block list) =
    let trees =
        [
            for block in blocks -> block, CSharpSyntaxTree.ParseText(block.Text, options).GetCompilationUnitRoot()
        ]

    let place (block: Block) (node: SyntaxNode) =
        let line = node.SyntaxTree.GetLineSpan(node.Span).StartLinePosition.Line
        $"#line {block.Line + line} \"{block.File}\"\n{node.ToFullString()}\n"

    let parts (choose: CompilationUnitSyntax -> SyntaxNode seq) =
        String.Join(
            "",
            [
                for block, root in trees -> String.Join("", choose root |> Seq.map (place block))
            ]
        )

    let isStatement (node: MemberDeclarationSyntax) = node :? GlobalStatementSyntax

    let nodes (members: MemberDeclarationSyntax seq) =
        members |> Seq.map (fun node -> node :> SyntaxNode)

    let usings =
        parts (fun root -> root.Usings |> Seq.map (fun node -> node :> SyntaxNode))

    let distinct =
        usings.Split '\n'
        |> Array.filter (fun line -> not (line.StartsWith "#line"))
        |> Array.distinct

    String.Join("\n", distinct)
    + "\n"
    + parts (fun root -> root.Members |> Seq.filter isStatement |> nodes)
    + parts (fun root -> root.Members |> Seq.filter (isStatement >> not) |> nodes)

let private compile (blocks: Block list) =
    let source = program blocks

    let hasStatements =
        blocks
        |> List.exists (fun block ->
            CSharpSyntaxTree.ParseText(block.Text, options).GetCompilationUnitRoot().Members
            |> Seq.exists (fun node -> node :? GlobalStatementSyntax))

    let kind =
        if hasStatements then
            OutputKind.ConsoleApplication
        else
            OutputKind.DynamicallyLinkedLibrary

    let compilation =
        CSharpCompilation.Create(
            "Block" + Guid.NewGuid().ToString "N",
            [
                CSharpSyntaxTree.ParseText(implicitUsings, options)
                CSharpSyntaxTree.ParseText(source, options)
                given.Value
            ],
            references.Value,
            CSharpCompilationOptions(kind, allowUnsafe = false, nullableContextOptions = NullableContextOptions.Enable)
        )

    use bytes = new MemoryStream()
    let result = compilation.Emit bytes

    if not result.Success then
        let errors =
            result.Diagnostics
            |> Seq.filter (fun diagnostic -> diagnostic.Severity = DiagnosticSeverity.Error)
            |> Seq.map string

        let errors = String.Join("\n", errors)
        failtest $"does not compile:\n{errors}\n{source}"

    Assembly.Load(bytes.ToArray())

let private runCSharp (blocks: Block list) =
    let assembly = compile blocks

    match assembly.EntryPoint with
    | null -> ()
    | entry ->
        inFolder (fun _ ->
            let console = Console.Out
            use output = new StringWriter()
            Console.SetOut output

            if blocks |> List.exists (fun block -> block.Text.Contains ".pt\"") then
                nonNull(nonNull(assembly.GetType "Given").GetMethod "Files").Invoke((null: objnull), [||])
                |> ignore

            try
                let arguments: obj array =
                    if entry.GetParameters().Length = 1 then
                        [| Array.empty<string> |]
                    else
                        [||]

                match entry.Invoke((null: objnull), arguments) with
                | :? Task as task -> task.GetAwaiter().GetResult()
                | _ -> ()
            finally
                Console.SetOut console)

let private csharp =
    [
        for block, chain in chains "csharp" ->
            testCase block.Name (fun () ->
                TorchSharpTests.skipWithoutLibtorch ()
                runCSharp chain)
    ]

// The names that Optim and TorchSharp.Modules both have.

let private clashing =
    let names ofNamespace (assemblies: Assembly list) =
        set
            [
                for assembly in assemblies do
                    for t in assembly.GetExportedTypes() do
                        if t.Namespace = ofNamespace && not t.IsNested then
                            t.Name
            ]

    Set.intersect
        (names
            "Optim"
            [
                typeof<Optim.Optimizer>.Assembly
                typeof<Optim.Torch>.Assembly
                typeof<Optim.CheckpointException>.Assembly
            ])
        (names "TorchSharp.Modules" [ typeof<TorchSharp.torch>.Assembly ])

/// The errors of a program that names them beside TorchSharp.Modules.
let private errorsOf (sources: string list) =
    let each = String.Join(", ", clashing |> Seq.map (fun name -> $"typeof({name})"))

    let program =
        $"using Optim; using TorchSharp.Modules; static class Names {{ static readonly System.Type[] all = [{each}]; }}"

    let compilation =
        CSharpCompilation.Create(
            "Names",
            [
                for source in program :: sources -> CSharpSyntaxTree.ParseText(source, options)
            ],
            references.Value,
            CSharpCompilationOptions OutputKind.DynamicallyLinkedLibrary
        )

    [
        for diagnostic in compilation.GetDiagnostics() do
            if diagnostic.Severity = DiagnosticSeverity.Error then
                diagnostic.Id
    ]

let private names =
    let read file =
        File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "names", file)).ReplaceLineEndings "\n"

    [
        test "the file of Optim.TorchSharp settles each name that TorchSharp.Modules has, too" {
            let aliases = read "OptimNames.cs"

            let named =
                set
                    [
                        for alias in Regex.Matches(aliases, @"global using (\w+) = Optim\.(\w+);") do
                            Expect.equal alias.Groups[1].Value alias.Groups[2].Value "the same name"
                            alias.Groups[1].Value
                    ]

            Expect.equal named clashing "names"
            Expect.equal (List.distinct (errorsOf [])) [ "CS0104" ] "without it they are ambiguous"
            Expect.isEmpty (errorsOf [ aliases ]) "with it they are not"
            Expect.stringContains (read "README.md") $"```csharp\n{aliases}```" "as the README shows it"
        }
    ]

// F#: all blocks in one session, each in a module of its own.

let private session () =
    let here = AppContext.BaseDirectory.Replace('\\', '/')

    let indented (text: string) =
        Regex.Replace(text, "(?m)^(?=.)", "    ")

    String.concat
        "\n"
        [
            for assembly in
                [
                    "Optim.Kernels"
                    "Optim.Trees"
                    "Optim.Files"
                    "Optim.Core"
                    "Optim.CSharp"
                    "Optim.TorchSharp"
                    "TorchSharp"
                    "FsCheck"
                    "Expecto"
                    "Expecto.FsCheck3"
                    "Optim.Laws"
                ] do
                $"#r @\"{here}{assembly}.dll\""

            $"#load @\"{here}Documents/Given.fsx\""

            for index, (block, chain) in List.indexed (chains "fsharp") do
                $"module Block{index} ="
                "    open Given"

                for part in chain do
                    $"# {part.Line} @\"{part.File}\""
                    indented part.Text

                $"    do printfn \"ran {block.Name}\""
        ]

let private fsharp =
    testCase "the F# blocks" (fun () ->
        inFolder (fun folder ->
            let script = Path.Combine(folder, "blocks.fsx")
            File.WriteAllText(script, session ())

            let start =
                ProcessStartInfo("dotnet", [ "fsi"; "--nologo"; "--quiet"; "--warnaserror-"; script ])

            start.RedirectStandardOutput <- true
            start.RedirectStandardError <- true
            use fsi = nonNull (Process.Start start)

            let output, error =
                fsi.StandardOutput.ReadToEndAsync(), fsi.StandardError.ReadToEndAsync()

            fsi.WaitForExit()
            Expect.equal fsi.ExitCode 0 $"{error.Result}\n{output.Result}"

            for block, _ in chains "fsharp" do
                Expect.stringContains output.Result $"ran {block.Name}" "the block ran to its end"))

// Commands

/// What a test cannot run within itself: the tests, the benchmarks (minutes), what packs and builds the site.
let private notRun = set [ "test"; "bench"; "pack"; "docs" ]

let private words (line: string) =
    [
        for word in Regex.Matches(Regex.Replace(line, @"\s+#.*$", ""), "\"([^\"]*)\"|\\S+") ->
            if word.Groups[1].Success then
                word.Groups[1].Value
            else
                word.Value
    ]

/// The commands of a page run in the page's order in one folder: what one writes, a later one may read.
let private commands =
    [
        for page in pages do
            let lines =
                [
                    for block in ofPage page |> List.filter (fun block -> block.Language = "sh") do
                        for line in block.Text.Split '\n' do
                            match words line with
                            | ("./optim" | "optim") :: name :: arguments when not (notRun.Contains name) -> line, name :: arguments
                            | _ -> ()
                ]

            if not lines.IsEmpty then
                testCase page (fun () ->
                    inFolder (fun folder ->
                        let golden = Path.Combine(AppContext.BaseDirectory, "golden")
                        Directory.CreateDirectory(Path.Combine(folder, "properties")) |> ignore

                        Directory.CreateSymbolicLink(Path.Combine(folder, "properties", "golden"), golden)
                        |> ignore

                        for line, arguments in lines do
                            if line.Contains "torchsharp" then
                                TorchSharpTests.skipWithoutLibtorch ()

                            let code, output, error = Command.run arguments
                            Expect.equal code 0 $"{line}\n{output}{error}"))
    ]

[<Tests>]
let tests =
    testSequenced (
        testList
            "documents"
            [
                testList "csharp" csharp
                testList "names" names
                fsharp
                testList "commands" commands
            ]
    )
