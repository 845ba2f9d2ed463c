/// Every code block of README, guide and site is compiled and run as it is printed. What a block does not define itself (model, batches,
/// ...) is in Given.cs and Given.fsx.
module DocumentTests

open System
open System.Diagnostics
open System.IO
open System.Reflection
open System.Text.RegularExpressions
open Expecto
open Microsoft.CodeAnalysis
open Microsoft.CodeAnalysis.CSharp
open Blocks
open CSharpBlocks

// C#

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
                for source in program :: sources -> CSharpSyntaxTree.ParseText(source, parsing)
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
                    "Optim.Distributed"
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
