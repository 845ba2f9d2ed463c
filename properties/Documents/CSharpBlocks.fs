/// Blocks of C# compiled into one program and run.
module CSharpBlocks

open System
open System.IO
open System.Reflection
open System.Threading.Tasks
open Expecto
open Microsoft.CodeAnalysis
open Microsoft.CodeAnalysis.CSharp
open Microsoft.CodeAnalysis.CSharp.Syntax
open Blocks

/// Runs something in an empty folder that is deleted afterwards.
let inFolder action =
    let folder = Directory.CreateTempSubdirectory("optim-documents").FullName
    let before = Environment.CurrentDirectory
    Environment.CurrentDirectory <- folder

    try
        action folder
    finally
        Environment.CurrentDirectory <- before
        Directory.Delete(folder, true)

let references =
    lazy
        (let trusted = string (AppContext.GetData "TRUSTED_PLATFORM_ASSEMBLIES")

         trusted.Split Path.PathSeparator
         |> Array.map (fun path -> MetadataReference.CreateFromFile path :> MetadataReference))

let parsing = CSharpParseOptions(LanguageVersion.Latest)

let private given =
    lazy
        (let path = Path.Combine(AppContext.BaseDirectory, "Documents", "Given.cs")
         CSharpSyntaxTree.ParseText(File.ReadAllText path, parsing, path))

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
            for block in blocks -> block, CSharpSyntaxTree.ParseText(block.Text, parsing).GetCompilationUnitRoot()
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
            CSharpSyntaxTree.ParseText(block.Text, parsing).GetCompilationUnitRoot().Members
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
                CSharpSyntaxTree.ParseText(implicitUsings, parsing)
                CSharpSyntaxTree.ParseText(source, parsing)
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

let runCSharp (blocks: Block list) =
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
