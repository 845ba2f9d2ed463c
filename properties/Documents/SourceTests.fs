/// The sources of the project: none is longer than a reader takes in at a sitting, unless its first lines say why.
module SourceTests

open System
open System.IO
open Expecto

let private most = 350

/// Whether a file is long and says no reason, as in "// Long, because ...".
let private isTooLong (lines: string array) =
    lines.Length > most
    && not (lines |> Seq.truncate 5 |> Seq.exists _.Contains("Long, because "))

let rec private sources (folder: string) : string list =
    [
        for file in Directory.GetFiles folder do
            if List.contains (Path.GetExtension file) [ ".cs"; ".fs"; ".fsx"; ".py" ] then
                file

        for inner in Directory.GetDirectories folder do
            let name = nonNull (Path.GetFileName inner)

            if name <> "bin" && name <> "obj" && not (name.StartsWith '.') then
                yield! sources inner
    ]

[<Tests>]
let tests =
    testList
        "sources"
        [
            test "no file is above 350 lines without a reason in its first lines" {
                let root = Outside.repository ""
                let files = sources root
                Expect.isGreaterThan files.Length 300 "files that were found"

                Expect.equal
                    [
                        for file in files do
                            let lines = File.ReadAllLines file

                            if isTooLong lines then
                                $"{Path.GetRelativePath(root, file)}: {lines.Length} lines"
                    ]
                    []
                    "split them by concern, or say at the top: // Long, because ..."
            }

            test "what counts as a reason" {
                let long reason place =
                    Array.init 351 (fun line -> if line = place then reason else "")

                Expect.isFalse (isTooLong (Array.create 350 "")) "350 lines"
                Expect.isTrue (isTooLong (Array.create 351 "")) "351 lines"
                Expect.isFalse (isTooLong (long "// Long, because types refer to each other." 0)) "a reason"
                Expect.isTrue (isTooLong (long "// Long." 0)) "none"
                Expect.isTrue (isTooLong (long "// Long, because it grew." 20)) "where nobody looks for it"
            }
        ]
