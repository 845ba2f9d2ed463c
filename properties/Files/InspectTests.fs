/// How inspect shows what a file holds, and the difference of two.
module InspectTests

open System
open System.Numerics
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit

let tests =
    testList
        "inspect"
        [
            testCase "keys 1 and '1' are kept apart, and what cannot be seen in a key is escaped" (fun () ->
                inFolder (fun within ->
                    let path = within "x.pt"

                    let tree =
                        keyed
                            [
                                Tree.Int 1L, Tree.Text "number"
                                Tree.Text "1", Tree.Text "text"
                                Tree.Text "a\u202eb\u200b\n", Tree.None
                            ]

                    Checkpoint.Write(path, tree)
                    let _, output, _ = Command.run [ "inspect"; path ]
                    Expect.stringContains output "  1: 'number'" "the number"
                    Expect.stringContains output "  '1': 'text'" "the text"
                    Expect.stringContains output @"a\u202eb\u200b\n: None" "escaped"
                    let _, json, _ = Command.run [ "inspect"; path; "--json" ]
                    Expect.isFalse (json.Contains '\u202e') "no override"
                    use document = JsonDocument.Parse json
                    let entries = document.RootElement.GetProperty("tree").GetProperty("entries")

                    Expect.equal
                        [
                            for entry in entries.EnumerateArray() -> entry[0].ToString(), entry[1].ToString()
                        ]
                        [ "1", "number"; "1", "text"; "a\u202eb\u200b\n", "" ]
                        "entries"

                    Expect.equal (entries[0].[0].ValueKind) JsonValueKind.Number "a number"))

            testCase "a value that is in several places is shown once, and named by its place after that" (fun () ->
                inFolder (fun within ->
                    let path = within "x.pt"

                    let shared =
                        Tree.Dict(struct ("weight", Tree.Tensor(tensor DType.Float32 [| 3L |] [| 1.0; 2.0; 3.0 |])))

                    Checkpoint.Write(path, Tree.Dict(struct ("a", shared), struct ("b", Tree.ListOf [ shared ])))
                    let again = Checkpoint.Read path
                    Expect.isTrue (Object.ReferenceEquals(again["a"], again["b"].[0])) "it stays one value in a file"
                    let _, output, _ = Command.run [ "inspect"; path ]
                    Expect.stringContains output "[0]: -> a" "lines"
                    let _, json, _ = Command.run [ "inspect"; path; "--json" ]
                    use document = JsonDocument.Parse json
                    let second = document.RootElement.GetProperty("tree").GetProperty("b").[0]
                    Expect.equal (second.GetProperty("reference").GetString()) "a" "JSON"))

            testCase "every kind of value is shown, in lines and in JSON" (fun () ->
                inFolder (fun within ->
                    let path = within "x.pt"

                    let tree =
                        Tree.Dict(
                            struct ("big", Tree.BigInt(BigInteger.Pow(10I, 30))),
                            struct ("complex", Tree.Complex(Complex(1.5, -2.0))),
                            struct ("bytes", Tree.BytesOf [ 1uy; 255uy ]),
                            struct ("device", Tree.TaggedOf("torch.device", [ Tree.Text "cuda"; Tree.Int 1L ])),
                            struct ("dtype", Tree.TaggedOf("torch.float32", [])),
                            struct ("half", Tree.Text(string (char 0xD800)))
                        )

                    Checkpoint.Write(path, tree)
                    Expect.equal (Checkpoint.Read path) tree "content"
                    let _, output, _ = Command.run [ "inspect"; path ]

                    for line in
                        [
                            "big: 1000000000000000000000000000000"
                            "complex: (1.5-2j)"
                            "bytes: bytes('01ff')"
                            "device: torch.device('cuda', 1)"
                            "dtype: torch.float32"
                            @"half: '\ud800'"
                        ] do
                        Expect.stringContains output line "a line"

                    let _, json, _ = Command.run [ "inspect"; path; "--json" ]
                    use document = JsonDocument.Parse json

                    let found (name: string) =
                        document.RootElement.GetProperty("tree").GetProperty(name)

                    Expect.equal ((found "big").GetRawText()) "1000000000000000000000000000000" "big"
                    Expect.equal ((found "bytes").GetProperty("bytes").GetString()) "01ff" "bytes"
                    Expect.equal ((found "device").GetProperty("tagged").GetProperty("name").GetString()) "torch.device" "device"))

            testCase "two files differ where their values do, and nowhere else" (fun () ->
                inFolder (fun within ->
                    Checkpoint.Write(
                        within "a.pt",
                        keyed
                            [
                                Tree.Int 1L, Tree.Int 1L
                                Tree.Text "x", Tree.ListOf [ Tree.Int 1L; Tree.Int 2L ]
                            ]
                    )

                    Checkpoint.Write(
                        within "b.pt",
                        keyed
                            [
                                Tree.Bool true, Tree.Int 1L
                                Tree.Text "x", Tree.ListOf [ Tree.Int 1L; Tree.Int 3L ]
                            ]
                    )

                    let _, output, _ = Command.run [ "inspect"; within "a.pt"; "--diff"; within "b.pt" ]

                    Expect.equal
                        (output.Trim().Split('\n') |> Array.map _.Trim())
                        [| "- 1: 1"; "~ x: [1, 2] -> [1, 3]"; "+ True: 1" |]
                        "lines"))
        ]
