/// The optim command, as tests run it.
module Command

open System
open System.Collections.Immutable
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open Optim.Cli.Commands

/// Exit code, output and errors of the command.
let command (cancel: CancellationToken) (arguments: string list) =
    use output = new StringWriter()
    use error = new StringWriter()
    let code = OptimCommand.Run(arguments.ToImmutableArray(), output, error, cancel)
    code, output.ToString(), error.ToString()

let run = command CancellationToken.None

/// A line of arguments, split at blanks.
let words (line: string) =
    List.ofArray (line.Split(' ', StringSplitOptions.RemoveEmptyEntries))

/// What is printed where all goes well, by a line of arguments and more of them.
let succeeds (line: string) (more: string list) =
    let code, output, error = run (words line @ more)
    Expect.equal (code, error) (0, "") line
    output

let readJson (path: string) =
    use document = JsonDocument.Parse(File.ReadAllText path)
    document.RootElement.Clone()

/// The numbers of a list.
let numbersOf (name: string) (json: JsonElement) =
    [ for item in json.GetProperty(name).EnumerateArray() -> item.GetDouble() ]

let number (name: string) (json: JsonElement) = json.GetProperty(name).GetDouble()

/// Refused in one sentence, with these words, before anything was done.
let refused (arguments: string list) words =
    let code, output, error = run arguments
    Expect.equal (code, output) (1, "") "exit code, and nothing was done"
    Expect.equal (error.TrimEnd().Split('\n').Length) 1 $"one line: {error}"

    for word in words do
        Expect.stringContains error word "message"
