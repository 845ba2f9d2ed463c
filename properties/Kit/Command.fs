/// The optim command, as tests run it.
module Command

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

let readJson (path: string) =
    use document = JsonDocument.Parse(File.ReadAllText path)
    document.RootElement.Clone()

let number (name: string) (json: JsonElement) = json.GetProperty(name).GetDouble()

/// Refused in one sentence, with these words, before anything was done.
let refused (arguments: string list) words =
    let code, output, error = run arguments
    Expect.equal (code, output) (1, "") "exit code, and nothing was done"
    Expect.equal (error.TrimEnd().Split('\n').Length) 1 $"one line: {error}"

    for word in words do
        Expect.stringContains error word "message"
