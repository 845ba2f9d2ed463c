/// The code blocks of README, guide and site, as they are printed.
module Blocks

open System
open System.IO

/// A fenced block: where it stands, its language, its lines, and whether it goes on from the block before it on the page
/// (the comment `<!-- continues -->` above it says so).
type Block =
    {
        File: string
        Line: int
        Language: string
        Text: string
        Continues: bool
    }

    /// As a test's name has it: the page and the block's first line.
    member this.Name = $"{this.File} {this.Line}"

/// The pages beside the tests: README.md and docs/, as the repository has them.
let folder = Path.Combine(AppContext.BaseDirectory, "documents")

/// All pages, relative to the folder, with / on every system. Decisions are for who changes Optim: their fragments stand alone.
let pages =
    Directory.GetFiles(folder, "*.md", SearchOption.AllDirectories)
    |> Array.map (fun path -> Path.GetRelativePath(folder, path).Replace('\\', '/'))
    |> Array.filter (fun page -> not (page.StartsWith("decisions/", StringComparison.Ordinal)))
    |> Array.sort

/// The blocks of a page, in order.
let ofPage page =
    let lines = File.ReadAllLines(Path.Combine(folder, page))

    let rec read index above blocks =
        if index >= lines.Length then
            List.rev blocks
        elif lines[index].StartsWith("```", StringComparison.Ordinal) then
            let last =
                Seq.initInfinite (fun i -> index + 1 + i)
                |> Seq.find (fun i -> i >= lines.Length || lines[i].StartsWith("```", StringComparison.Ordinal))

            let block =
                {
                    File = page
                    Line = index + 2
                    Language = lines[index].Substring(3).Trim()
                    Text = String.Join("\n", lines[index + 1 .. last - 1])
                    Continues = above = "<!-- continues -->"
                }

            read (last + 1) "" (block :: blocks)
        else
            let above =
                if lines[index].Trim() = "" then
                    above
                else
                    lines[index].Trim()

            read (index + 1) above blocks

    read 0 "" []

/// The blocks of all pages in a language, each with those that it goes on from, first one first.
let chains language =
    [
        for page in pages do
            // What needs xunit is compiled where packages are installed from outside.
            let blocks =
                ofPage page
                |> List.filter (fun block -> block.Language = language && not (block.Text.Contains "using Xunit"))

            for index, block in List.indexed blocks do
                let first =
                    Seq.initInfinite (fun i -> index - i)
                    |> Seq.find (fun i -> i = 0 || not blocks[i].Continues)

                block, blocks[first..index]
    ]
