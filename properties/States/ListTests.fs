/// Gradients are matched as a union, and lists of parameters and gradients are sequences.
module ListTests

open System
open Expecto
open Microsoft.FSharp.Reflection
open Optim.Core
open Optim.Kernels

let private tensor (values: float list) =
    TensorView.Of [| for value in values -> float32 value |]

let private rows (indices: int64 list) = TensorView.Of(Array.ofList indices)

let private sparse () =
    Gradient.OfSparse(rows [ 1L; 1L ], TensorView.Of([| 1.0f; 2.0f |], [| 2L; 1L |]))

let private doubled (values: TensorView) =
    let copy = values.Copy()

    for i in 0 .. int copy.Count - 1 do
        copy.AsSpan<float32>()[i] <- 2.0f * copy.AsSpan<float32>()[i]

    copy

/// The sum of a gradient's values, by matching it.
let private sum (gradient: Gradient) =
    match gradient with
    | Gradient.Absent -> nan
    | Gradient.Dense values -> Seq.sum (values.ToDoubles())
    | Gradient.Sparse(rows, values) -> Seq.sum (values.ToDoubles()) * double rows.Count

[<Tests>]
let tests =
    testList
        "lists of parameters and gradients"
        [
            test "a gradient is absent, dense or sparse, as a union of these" {
                let cases = FSharpType.GetUnionCases typeof<Gradient>
                Expect.equal [ for case in cases -> case.Name ] (List.ofArray (Enum.GetNames<GradientKind>())) "cases and kinds"
                Expect.isTrue (Double.IsNaN(sum Gradient.Absent)) "absent"
                Expect.equal (sum (Gradient.Dense(tensor [ 1.0; 2.0 ]))) 3.0 "dense"
                Expect.equal (sum (sparse ())) 6.0 "sparse"
                Expect.equal (sum Unchecked.defaultof<Gradient> |> Double.IsNaN) true "the default is absent"
            }
            test "kind, values and rows say the same as the cases" {
                let dense, sparse = Gradient.Dense(tensor [ 1.0 ]), sparse ()

                Expect.equal
                    [ Gradient.Absent.Kind; dense.Kind; sparse.Kind ]
                    [ GradientKind.Absent; GradientKind.Dense; GradientKind.Sparse ]
                    "kinds"

                Expect.isTrue
                    (Gradient.Absent.Values.IsAbsent
                     && Gradient.Absent.Rows.IsAbsent
                     && dense.Rows.IsAbsent)
                    "nothing there"

                Expect.equal (sparse.Rows.ToDoubles()) [| 1.0; 1.0 |] "rows"
                Expect.equal (sparse.Values.ToDoubles()) [| 1.0; 2.0 |] "values"
            }
            test "a case that is made of no tensor is refused before anything is written" {
                let none = Gradient.Dense(TensorView())

                Expect.throwsT<ArgumentException> (fun () -> Gradients.ofSeq [ none ] |> ignore) "a list"
                let w = tensor [ 1.0 ]
                let parameters = Parameters.ofSeq [ w ]
                let state = SGD.init SGD.defaults parameters

                Expect.throwsT<ArgumentException>
                    (fun () -> SGD.step SGD.defaults parameters (Gradients.Over [| none |]) state |> ignore)
                    "a step"

                Expect.isFalse state.IsSpent "nothing has happened"
            }
            test "map changes values, and keeps names, rows and what is absent" {
                let parameters = Parameters.ofNamed [ "a", tensor [ 1.0 ]; "b", tensor [ 2.0 ] ]
                let mapped = Parameters.map doubled parameters
                Expect.equal (Parameters.names mapped) [ "a"; "b" ] "names"
                Expect.equal [ for tensor in mapped -> tensor.ToDoubles()[0] ] [ 2.0; 4.0 ] "tensors"
                Expect.equal (Parameters.names (Parameters.ofSeq [ tensor [ 1.0 ] ] |> Parameters.map doubled)) [] "none"

                let gradients =
                    Gradients.ofSeq [ Gradient.Absent; Gradient.Dense(tensor [ 3.0 ]); sparse () ]

                let mapped = gradients |> Gradients.map (Gradient.map doubled)
                Expect.equal (mapped |> Seq.map _.Kind |> List.ofSeq) (gradients |> Seq.map _.Kind |> List.ofSeq) "kinds"
                Expect.equal [ for gradient in Seq.tail mapped -> sum gradient ] [ 6.0; 12.0 ] "values"
                Expect.equal (sum (Gradient.coalesce (sparse ()))) 3.0 "one row"
            }
            test "zip pairs parameters with gradients, and refuses other numbers of them" {
                let parameters = Parameters.ofSeq [ tensor [ 1.0 ]; tensor [ 2.0 ] ]
                let gradients = Gradients.ofDense [ tensor [ 3.0 ]; tensor [ 4.0 ] ]

                Expect.equal
                    [
                        for parameter, gradient in Parameters.zip parameters gradients -> parameter.ToDoubles()[0] + sum gradient
                    ]
                    [ 4.0; 6.0 ]
                    "pairs"

                Expect.equal [ for a, b in Gradients.zip gradients gradients -> sum a + sum b ] [ 6.0; 8.0 ] "two batches"
                let one = Gradients.ofDense [ tensor [ 3.0 ] ]
                Expect.throwsT<ArgumentException> (fun () -> Parameters.zip parameters one |> ignore) "one gradient"
                Expect.throwsT<ArgumentException> (fun () -> Gradients.zip gradients one |> ignore) "one gradient"
            }
            test "parameters are found by name" {
                let parameters = Parameters.ofNamed [ "a", tensor [ 1.0 ]; "b", tensor [ 2.0 ] ]
                Expect.equal (parameters |> Parameters.tryFind "b" |> Option.map _.ToDoubles()) (Some [| 2.0 |]) "b"
                Expect.equal (parameters |> Parameters.tryFind "c" |> Option.isNone) true "c"
            }
            test "%A prints lists, states, counts and trees as they print themselves" {
                let parameters = Parameters.ofNamed [ "a", tensor [ 1.0 ] ]
                let gradients = Gradients.ofDense [ tensor [ 3.0 ] ]

                let state =
                    Adam.step Adam.defaults parameters gradients (Adam.init Adam.defaults parameters)

                let tree = State.toTree state

                Expect.equal $"%A{parameters}" (string parameters) "parameters"
                Expect.equal $"%A{gradients}" (string gradients) "gradients"
                Expect.equal $"%A{state}" (string state) "state"
                Expect.equal $"%A{state.Counts}" (string state.Counts) "counts"
                Expect.equal $"%A{tree}" (string tree) "tree"
                Expect.stringContains $"%A{state}" "parameter 0: 1 steps" "what it says"
                Expect.stringContains $"%A{Gradient.Dense(tensor [ 3.0 ])}" "Dense" "a gradient"
            }
        ]
