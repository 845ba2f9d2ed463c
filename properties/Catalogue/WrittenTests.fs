/// What is written from the table of the catalogue is as it would be written now.
/// OPTIM_WRITE=1 ./optim test --filter "written from the table" writes the files anew; dotnet csharpier format . and a look at README.md come after it.
module WrittenTests

open System
open System.IO
open Expecto
open Optim.Core

let private repository parts =
    Path.Combine(Array.append [| Outside.repository "." |] (List.toArray parts))

/// Formatters move lines.
let private bare (text: string) =
    String.Join("", text.Split([| ' '; '\n'; '\r'; '\t' |])).Replace(",)", ")")

let private check (path: string) (text: string) =
    if Environment.GetEnvironmentVariable "OPTIM_WRITE" = "1" then
        Directory.CreateDirectory(string (Path.GetDirectoryName path)) |> ignore
        File.WriteAllText(path, text.TrimEnd('\n') + "\n")
    else
        Expect.isTrue
            (bare (File.ReadAllText path) = bare text)
            $"{path} is not what the table says; have it written anew (see WrittenTests.fs)"

[<Tests>]
let tests =
    testList
        "written from the table"
        [
            test "the C# constructors" {
                for file, text in Written.constructors () do
                    check (repository [ "Optim.CSharp"; "Catalogue"; file ]) text
            }
            test "the page of the catalogue" { check (repository [ "docs"; "catalogue.md" ]) (Written.page ()) }
            test "the README's lines" {
                let readme = File.ReadAllText(repository [ "README.md" ])

                for line in Written.readme () do
                    Expect.stringContains readme line "a line of README.md; have a look at what Written.readme says"
            }
            test "every option has words" {
                for entry in Catalogue.All do
                    for option in entry.Rule.OptionNames do
                        Expect.notEqual (entry.Describe option) "" $"{entry.Name}: {option} (Optim.Core/Catalogue/OptionWords.fs)"
            }
        ]
