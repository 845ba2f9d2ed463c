namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// A run of some vectors and matrices, all of it drawn from a seed.
[<NoComparison>]
type internal SmallRun =
    {
        DType: DType
        Shapes: int64 list list
        Steps: int
        Seed: int
    }

/// Laws of what is made of rules and transforms: chains, and rules around rules. Each is a function of what makes them, so that one's own can be
/// tried, too.
[<RequireQualifiedAccess>]
module Compositions =
    let private runs =
        Gen.map3
            (fun dtype shapes (steps, seed) ->
                {
                    DType = dtype
                    Shapes = shapes
                    Steps = steps
                    Seed = seed
                })
            (Gen.elements [ DType.Float32; DType.Float64; DType.BFloat16 ])
            (Gen.elements [ [ [ 3L; 4L ]; [ 5L ] ]; [ [ 7L ] ]; [ []; [ 2L; 3L; 2L ]; [ 40L ] ] ])
            (Gen.zip (Gen.choose (1, 6)) (Gen.choose (1, 1_000_000)))

    let private tensors (random: Random) (run: SmallRun) =
        [
            for shape in run.Shapes ->
                let count = List.fold (*) 1L shape |> int
                Tensor.shaped (List.toArray shape) run.DType (Array.init count (fun _ -> random.NextDouble() * 2.0 - 1.0))
        ]

    /// The parameters before the first step and after each.
    let private go (rule: Rule) (run: SmallRun) =
        let random = Random run.Seed
        let parameters = Parameters.Of(tensors random run)

        let read () =
            [ for parameter in parameters -> parameter.ToDoubles() ]

        let mutable state = rule.Init(rule.Defaults, parameters)

        [
            read ()

            for _ in 1 .. run.Steps do
                state <- rule.Step(rule.Defaults, parameters, Gradients.OfDense(tensors random run), state)
                read ()
        ]

    let private equal (a: float[] list) (b: float[] list) =
        List.forall2 (Array.forall2 (fun (x: float) y -> x = y || x.Equals y)) a b

    let private none (_: 'a) : 'a seq = Seq.empty

    let private pool =
        [
            "clip", Transforms.Clip 0.5
            "clip_by_global_norm", Transforms.ClipByGlobalNorm 0.7
            "scale_by_adam", Transforms.ScaleByAdam()
            "scale_by_lion", Transforms.ScaleByLion()
            "trace", Transforms.Trace 0.9
            "add_decayed_weights", Transforms.AddDecayedWeights 0.1
            "add_decayed_weights of matrices", (Transforms.AddDecayedWeights 0.1).Where(fun parameter -> parameter.Shape.Length > 1)
            "scale", Transforms.Scale -0.1
            "sign", Transforms.Sign
            "centralize", Transforms.Centralize
        ]

    let private linear =
        [
            Transforms.Trace 0.9
            Transforms.Ema 0.8
            Transforms.Centralize
            Transforms.Scale -3.0
        ]

    /// W2: of what makes a rule of transforms.
    let chains (make: Transform list -> Rule) : Law =
        let says =
            "chains associate, identity is their unit, and linear transforms commute with powers of two, bit for bit"

        Law.make "chains" "W2" says false (fun cases seed ->
            let drawn =
                Gen.zip3 runs (Gen.elements pool |> Gen.listOfLength 3) (Gen.zip (Gen.choose (0, 3)) (Gen.elements linear))

            Statement.trial "W2" cases seed drawn none (fun (run, named, (place, linear)) ->
                let transforms = List.map snd named
                let names = String.Join(", ", List.map fst named)

                let sequence (transforms: Transform list) =
                    Transform.Sequence(List.toArray transforms)

                match transforms with
                | [ a; b; c ] ->
                    let flat = go (make [ a; b; c ]) run

                    let others =
                        [
                            "to the left", [ sequence [ sequence [ a; b ]; c ] ]
                            "to the right", [ a; sequence [ b; sequence [ c ] ] ]
                            "with identity", List.insertAt place Transforms.Identity transforms
                        ]

                    let wrong =
                        others
                        |> List.tryFind (fun (_, other) -> not (List.forall2 equal flat (go (make other) run)))

                    let factor = Transforms.Scale 0.25

                    let before, after =
                        go (make [ factor; linear ]) run, go (make [ linear; factor ]) run

                    match wrong with
                    | Some(how, _) -> Verdict.Broken $"{names}, {how}, is another optimizer"
                    | None when not (List.forall2 equal before after) -> Verdict.Broken $"{linear} does not commute with a quarter"
                    | None -> Verdict.tellingIf (List.last flat <> List.head flat) Verdict.Telling
                | _ -> Verdict.Trivial))

    let private inner: (string * Rule) list =
        [
            "AdamW", Rules.AdamW
            "RMSprop", Rules.RMSprop
            "Adafactor", Rules.Adafactor
            "a chain", Chains.Of(Transforms.ScaleByAdam(), Transforms.Scale -0.1) :> Rule
        ]

    /// R7: of what makes a Lookahead of a period, a slow step and a rule.
    let lookahead (wrap: int -> float -> Rule -> Rule) : Law =
        let says =
            "with a slow step of 1 Lookahead is its rule; with 0 fast weights return to where they were at each synchronization, bit for bit"

        Law.make "Lookahead" "R7" says false (fun cases seed ->
            let drawn = Gen.zip3 runs (Gen.elements inner) (Gen.choose (1, 4))

            Statement.trial "R7" cases seed drawn none (fun (run, (name, rule), period) ->
                let alone = go rule run
                let whole, nothing = go (wrap period 1.0 rule) run, go (wrap period 0.0 rule) run
                let start = List.head alone

                let returns =
                    nothing
                    |> List.indexed
                    |> List.forall (fun (step, found) -> step % period <> 0 || equal start found)

                let follows =
                    List.zip alone nothing
                    |> List.truncate period
                    |> List.forall (fun (a, b) -> equal a b)

                if not (List.forall2 equal alone whole) then
                    Verdict.Broken $"{name}, every {period} steps, with a slow step of 1, is another optimizer"
                elif not returns then
                    Verdict.Broken $"{name}, every {period} steps, with a slow step of 0, does not return"
                elif not follows then
                    Verdict.Broken $"{name}, every {period} steps, does not follow the rule before the first synchronization"
                else
                    Verdict.tellingIf (run.Steps >= period) Verdict.Telling))
