namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// E: what one element does depends on that element alone.
[<RequireQualifiedAccess>]
module Equivariance =
    let private everyRule (_: Rule) = true

    let private map (change: int -> float[] -> float[]) (s: Scenario) =
        { s with
            Start = Array.mapi change s.Start
            History =
                s.History
                |> Array.map (Array.mapi (fun k row -> ValueOption.map (change k) row))
        }

    let private mapSnapshot (change: int -> float[] -> float[]) (snapshot: Snapshot) =
        { snapshot with
            Theta = Array.mapi change snapshot.Theta
            State =
                snapshot.State
                |> List.map (fun (name, rows) -> name, rows |> Array.mapi (fun k row -> ValueOption.map (change k) row))
        }

    /// E1: permuting the elements of parameter and gradients permutes the result.
    let permutation =
        Statement.withDraw
            "E1"
            "permuting the elements permutes the result, bit for bit"
            everyRule
            Recipe.any
            (Gen.choose (0, 1_000_000))
            (fun subject seed s ->
                let orders =
                    s.Start
                    |> Array.map (fun values ->
                        let order = Array.init values.Length id
                        Random(seed).Shuffle order
                        order)

                let permute k (values: float[]) =
                    orders[k] |> Array.map (fun i -> values[i])

                let expected = mapSnapshot permute (Run.final subject s)
                let actual = Run.final subject (map permute s)

                Snapshot.compare Comparator.bit expected actual
                |> Verdict.tellingIf (Run.moves subject s))

    /// E2: a parameter in two pieces goes where the whole one goes.
    let splitting =
        Statement.withDraw
            "E2"
            "splitting a parameter anywhere changes no bit"
            everyRule
            Recipe.any
            (Gen.choose (0, 1000))
            (fun subject part s ->
                let cut (values: float[]) = values.Length * part / 1000

                let pieces (values: float[]) =
                    [| Array.truncate (cut values) values; Array.skip (cut values) values |]

                let split =
                    { s with
                        Start = Array.collect pieces s.Start
                        History =
                            s.History
                            |> Array.map (
                                Array.collect (function
                                    | ValueNone -> [| ValueNone; ValueNone |]
                                    | ValueSome values -> Array.map ValueSome (pieces values))
                            )
                    }

                let whole = Run.final subject s
                let actual = Run.final subject split

                let expected =
                    { whole with
                        Theta = Array.collect pieces whole.Theta
                        State =
                            whole.State
                            |> List.map (fun (name, rows) ->
                                name,
                                rows
                                |> Array.collect (function
                                    | ValueNone -> [| ValueNone; ValueNone |]
                                    | ValueSome values -> Array.map ValueSome (pieces values)))
                        Scalars =
                            whole.Scalars
                            |> List.map (fun (name, numbers) -> name, Array.collect (Array.replicate 2) numbers)
                        Counts = whole.Counts |> Array.collect (Array.replicate 2)
                    }

                Snapshot.compare Comparator.bit expected actual
                |> Verdict.tellingIf (Run.moves subject s))

    /// E3: how elements lie in memory does not matter.
    let strides =
        Statement.withDraw
            "E3"
            "the result depends on the elements, not on how they lie in memory"
            everyRule
            (fun rule ->
                { Recipe.one rule with
                    Length = Gen.map2 (*) (Gen.choose (1, 7)) (Gen.choose (2, 9))
                })
            (Gen.zip (Gen.choose (0, 3)) (Gen.choose (0, 3)))
            (fun subject (parameterLies, gradientLies) s ->
                let length = s.Start[0].Length
                let rows = Seq.findBack (fun rows -> length % rows = 0) (seq { 1 .. min 7 length })
                let shape = [| int64 rows; int64 (length / rows) |]

                let lay lies values = Memory.lay lies shape s.DType values

                let parameters = Parameters.Of [ lay parameterLies s.Start[0] ]

                let step state (row: float[] voption[]) =
                    let gradients = Gradients.OfDense [ lay gradientLies (Row.only row) ]
                    subject.Step s.Options parameters gradients state

                let state = Array.fold step (subject.Init s.Options parameters) s.History
                let expected = Run.final subject s

                Snapshot.compare Comparator.bit expected (Snapshot.read s.DType parameters state)
                |> Verdict.tellingIf (parameterLies + gradientLies > 0 && Run.moves subject s))

    /// E4: the mirror image of a run is the run of the mirror image.
    let sign =
        Statement.about "E4" "negating parameters and gradients negates the path" everyRule Recipe.any (fun subject s ->
            let negate _ = Array.map (fun x -> -x)
            let straight = Run.final subject s
            let mirrored = Run.final subject (map negate s)

            let expected =
                { straight with
                    Theta = Array.mapi negate straight.Theta
                }

            Snapshot.compareTheta Comparator.bitButZeros expected mirrored
            |> Verdict.tellingIf (Run.moves subject s))

    /// E5: maximizing is minimizing with the gradients negated, before any decay is added.
    let maximize =
        Statement.about "E5" "maximize is minimize of the negated gradients" (Options.has "maximize") Recipe.any (fun subject s ->
            let maximized = Run.withOptions [ "maximize", Options.ofFlag true ] s
            let minimized = Run.withOptions [ "maximize", Options.ofFlag false ] s
            let negated = Run.mapGradients (Array.map (fun x -> -x)) minimized

            Snapshot.compare Comparator.bit (Run.final subject negated) (Run.final subject maximized)
            |> Verdict.tellingIf (Run.moves subject s))

    /// E6: without a gradient nothing of a parameter changes.
    let missingGradient =
        Statement.about
            "E6"
            "without a gradient parameter, state and step count stay as they are"
            everyRule
            (fun rule -> { Recipe.any rule with Absent = 40 })
            (fun subject s ->
                let trace = Run.trace subject s

                seq {
                    for t in 0 .. s.History.Length - 1 do
                        for k in 0 .. s.Start.Length - 1 do
                            if ValueOption.isNone (Array.item k s.History[t]) then
                                Snapshot.compare Comparator.bit (Snapshot.only k trace[t]) (Snapshot.only k trace[t + 1])
                                |> Verdict.where (sprintf "parameter %d, step %d" k (t + 1))
                }
                |> Verdict.all)

    /// E8: a NaN stays in its element.
    let nanStays =
        Statement.withDraw
            "E8"
            "a NaN in an element of a gradient changes no other element"
            everyRule
            Recipe.any
            (Gen.zip (Gen.choose (0, 1000)) (Gen.choose (0, 1000)))
            (fun subject (where, at) s ->
                let t = (s.History.Length - 1) * where / 1000
                let k = (s.Start.Length - 1) * at / 1000

                match Array.item k s.History[t] with
                | ValueSome values when values.Length > 0 ->
                    let i = (values.Length - 1) * where / 1000
                    let poisoned = Array.updateAt i nan values

                    let history =
                        Array.updateAt t (Array.updateAt k (ValueSome poisoned) s.History[t]) s.History

                    let hide k' (values: float[]) =
                        if k' = k && values.Length > i then
                            Array.updateAt i 0.0 values
                        else
                            values

                    let clean = Run.final subject s |> mapSnapshot hide
                    let dirty = Run.final subject { s with History = history } |> mapSnapshot hide

                    Snapshot.compare Comparator.bit clean dirty
                    |> Verdict.tellingIf (Run.moves subject s)
                | _ -> Verdict.Trivial)

    /// E8 for Rprop, which goes by signs: NaN has none.
    let nanIsSwallowed =
        Statement.withDraw
            "E8"
            "an element whose gradient is NaN stays where it is"
            (fun rule -> rule.Name = "Rprop")
            Recipe.one
            (Gen.choose (0, 1000))
            (fun subject where s ->
                let i = (s.First.Length - 1) * where / 1000

                let poisoned =
                    { s with
                        History = [| yield! s.History; [| ValueSome(Array.updateAt i nan s.First) |] |]
                    }

                let before, after = Run.final subject s, Run.final subject poisoned

                Comparator.arrays Comparator.bit s.DType [| before.Theta[0][i] |] [| after.Theta[0][i] |]
                |> Verdict.tellingIf (Run.moves subject s))

    /// E9: an empty parameter is no obstacle, and a single number is an array of one.
    let emptyAndSingle =
        Statement.withDraw
            "E9"
            "an empty parameter changes nothing, and a single number is an array of one"
            everyRule
            (fun rule ->
                { Recipe.any rule with
                    Length = Gen.elements [ 1; 1; 5; 17 ]
                })
            (Gen.choose (0, 3))
            (fun subject place s ->
                let place = min place s.Start.Length

                let view (values: float[]) =
                    Tensor.shaped (if values.Length = 1 then [||] else [| values.LongLength |]) s.DType values

                let withEmpty rows =
                    Seq.insertAt place (Tensor.ofFloats s.DType [||]) rows

                let parameters = Parameters.Of(withEmpty (Seq.map view s.Start))

                let step state (row: float[] voption[]) =
                    let gradients =
                        row
                        |> Seq.map (function
                            | ValueNone -> Gradient.Absent
                            | ValueSome values -> Gradient.OfDense(view values))
                        |> Seq.insertAt place (Gradient.OfDense(Tensor.ofFloats s.DType [||]))

                    subject.Step s.Options parameters (Gradients.Of gradients) state

                let actual =
                    Array.fold step (subject.Init s.Options parameters) s.History
                    |> Snapshot.read s.DType parameters

                let without =
                    { actual with
                        Theta = Array.removeAt place actual.Theta
                        State = actual.State |> List.map (fun (name, rows) -> name, Array.removeAt place rows)
                        Scalars =
                            actual.Scalars
                            |> List.map (fun (name, numbers) -> name, Array.removeAt place numbers)
                        Counts = Array.removeAt place actual.Counts
                    }

                Snapshot.compare Comparator.bit (Run.final subject s) without
                |> Verdict.tellingIf (Run.moves subject s))

    /// E10: complex numbers are pairs of real ones.
    let complex =
        let recipe rule =
            { Recipe.any rule with
                Length = Gen.map ((*) 2) Generators.length
            }

        let whole (s: Scenario) =
            s.Start |> Array.forall (fun values -> values.Length % 2 = 0)

        Statement.forAll
            "E10"
            "a complex parameter goes as the pairs of real numbers that it consists of, bit for bit"
            everyRule
            (fun rule -> Recipe.generate rule (recipe rule))
            (fun rule s -> Recipe.shrink (recipe rule) s |> Seq.filter whole)
            (fun subject s ->
                let dtype =
                    if s.DType = DType.Float32 then
                        DType.Complex64
                    else
                        DType.Complex128

                Snapshot.compare Comparator.bit (Run.final subject s) (Run.final subject { s with DType = dtype })
                |> Verdict.tellingIf (Run.moves subject s))

    /// The laws of this family.
    let all =
        [
            permutation
            splitting
            strides
            sign
            maximize
            missingGradient
            nanStays
            nanIsSwallowed
            emptyAndSingle
            complex
        ]
