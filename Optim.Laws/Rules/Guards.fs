namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// G: special values, and options that are refused.
[<RequireQualifiedAccess>]
module Guards =
    open Terms

    let private everyRule (_: Rule) = true
    let private usualEps = [ "eps", Options.ofNumber 1e-8 ]

    /// G1: nothing comes of nothing.
    let zeroGradient =
        Statement.about
            "G1"
            "a gradient of zero moves nothing at first, and makes no NaN"
            everyRule
            (fun rule ->
                { Recipe.any rule with
                    Gradients = Palette.constant 0.0
                    Simple = []
                    Steps = 1, 3
                }
                |> Recipe.withOptions (usualEps @ noDecay))
            (fun subject s ->
                let final = Run.final subject s

                Verdict.both
                    (Snapshot.compareTheta Comparator.bitButZeros { final with Theta = s.Start } final)
                    (if Snapshot.finite final then
                         Verdict.Trivial
                     else
                         Verdict.Broken "the state is not finite"))

    /// G2: a gradient of zero is a gradient.
    let zeroIsNotNone =
        Statement.about
            "G2"
            "after a gradient, momentum goes on under a gradient of zero, and stops without one"
            (named [ "Adam"; "AdamW"; "Adamax"; "NAdam"; "RAdam"; "SGD"; "RMSprop" ])
            (fun rule ->
                { Recipe.one rule with
                    Starts = Palette.constant 0.0
                    Gradients = Palette.positive (Palette.logUniform -8 6)
                    Simple = [ 1.0 ]
                }
                |> Recipe.withOptions (
                    usualEps
                    @ noDecay
                    @ [
                        "lr", Options.ofNumber 0.1
                        "momentum", Options.ofNumber 0.9
                        "dampening", zero
                        "betas", Options.ofPair (0.9, 0.999)
                        "alpha", Options.ofNumber 0.9
                        "centered", off
                    ]
                ))
            (fun subject s ->
                let then' row =
                    Run.final
                        subject
                        { s with
                            History = Array.append s.History [| [| row |] |]
                        }

                let before = Run.final subject s
                let zero = then' (ValueSome(Array.zeroCreate s.Start[0].Length))

                let goesOn =
                    Seq.forall2 (fun a b -> a <> b) before.Theta[0] zero.Theta[0]
                    |> Verdict.require (fun () -> "a gradient of zero moved nothing")

                Verdict.both goesOn (Snapshot.compare Comparator.bit before (then' ValueNone)))

    /// Values that no optimizer takes.
    let refused: (string * OptionValue list) list =
        let number = Options.ofNumber
        let pair a b = Options.ofPair (a, b)

        [
            "lr", [ number -1.0; number nan ]
            "eps", [ number -1e-8; number nan ]
            "weight_decay", [ number -0.1; number nan ]
            "betas",
            [
                pair 1.0 0.9
                pair -0.1 0.9
                pair 0.9 1.0
                pair 0.9 -0.1
                pair nan 0.9
                pair 0.9 nan
            ]
            "momentum", [ number -0.5; number nan ]
            "rho", [ number -0.1; number 1.1; number nan ]
            "lr_decay", [ number -0.1; number nan ]
            "initial_accumulator_value", [ number -0.1; number nan ]
            "momentum_decay", [ number -0.1; number nan ]
            "lambd", [ number -0.1; number nan ]
            "t0", [ number nan ]
            "alpha", [ number -0.1; number nan ]
            "beta2_decay", [ number 0.1; number nan ]
            "d", [ number 0.5; number nan ]
            "ns_steps", [ number -1.0; number 2.5; number 100.0 ]
            "ns_coefficients", [ pair 1.0 2.0 ]
            "adjust_lr_fn", [ OptionValue.Text "fast" ]
            "etas", [ pair 0.0 1.2; pair 1.0 1.2; pair 0.5 1.0; pair 0.5 0.9; pair nan 1.2 ]
        ]

    let private impossible (rule: Rule) =
        [
            for name, values in refused do
                if Options.has name rule then
                    for value in values do
                        [ name, value ]
            // Definitions take options one by one.
            if
                Options.has "nesterov" rule
                && Options.has "dampening" rule
                && not (rule :? DefinedRule)
            then
                [ "momentum", zero; "nesterov", Options.ofFlag true ]

                [
                    "momentum", Options.ofNumber 0.9
                    "dampening", Options.ofNumber 0.1
                    "nesterov", Options.ofFlag true
                ]
        ]

    /// G3: wrong options are refused wherever they come in.
    let illegalOptions =
        Statement.forAll
            "G3"
            "options that make no sense are refused at construction, in a group, by a later edit and on load"
            (fun rule -> not (List.isEmpty (impossible rule)))
            (fun rule -> Gen.elements (impossible rule))
            (fun _ _ -> Seq.empty)
            (fun subject options ->
                let shell, rule = subject.Shell, subject.Rule

                let parameter () =
                    Param.Of(null, Shapes.suit rule (Tensor.ofFloats DType.Float32 [| 1.0; 2.0 |]))

                let group () =
                    Host.group rule rule.Defaults [ parameter () ]

                let with' values =
                    let group = group ()

                    for name, value in values do
                        group[name] <- value

                    group

                let refuses where (act: unit -> unit) =
                    try
                        act ()
                        Verdict.Broken(where + " takes " + String.Join(", ", options |> List.map string))
                    with
                    | :? OptionException -> Verdict.Telling
                    | e -> Verdict.Broken(where + " throws " + string e)

                let last = List.last options

                let edit () =
                    let group = shell.Open rule [] [ group () ] |> _.ParamGroups[0]

                    for name, value in options do
                        shell.SetOption group name value

                let edited =
                    // An edit is checked by itself, and so is the one that completes a combination.
                    refuses "an edit" edit

                let unchanged () =
                    let optimizer = shell.Open rule [] [ group () ]
                    let before = optimizer.ParamGroups[0][fst last]

                    try
                        shell.SetOption optimizer.ParamGroups[0] (fst last) (snd last)
                    with :? OptionException ->
                        ()

                    let now = optimizer.ParamGroups[0][fst last]

                    (options.Length > 1 || before.Equals now)
                    |> Verdict.require (fun () -> sprintf "a refused edit left %O instead of %O" now before)

                let load () =
                    let optimizer = shell.Open rule [] [ group () ]
                    let saved = shell.Save(shell.Open rule [] [ group () ])

                    for name, value in options do
                        saved.ParamGroups[0][name] <- value

                    shell.Load optimizer saved

                Verdict.all
                    [
                        refuses "the constructor" (fun () -> shell.Open rule options [ group () ] |> ignore)
                        refuses "a group" (fun () -> shell.Open rule [] [ with' options ] |> ignore)
                        refuses "AddParamGroup" (fun () -> shell.AddGroup (shell.Open rule [] [ group () ]) (with' options))
                        edited
                        unchanged ()
                        refuses "LoadStateDict" load
                    ])

    /// G5: what keeps a divisor from 0 does so in the parameter's dtype, too.
    let lostEps =
        Statement.forAll
            "G5"
            "an eps that the dtype rounds to 0 is refused by name, or is of no harm"
            (Options.has "eps")
            (fun _ ->
                gen {
                    let! dtype =
                        Gen.elements [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ]

                    let! eps = Gen.elements [ 1e-46; 1e-50; 1e-300; Double.Epsilon; 1e-44 ]
                    return dtype, eps
                })
            (fun _ _ -> Seq.empty)
            (fun subject (dtype, eps) ->
                let rule = subject.Rule

                let tensor values =
                    Shapes.suit rule (Tensor.ofFloats dtype values)

                let parameter = tensor [| 1.0; 0.0; -2.0; 0.5 |]

                let value =
                    match rule.Read(rule.Defaults, "eps") with
                    | OptionValue.Tuple(Items [ _; second ]) -> OptionValue.TupleOf [ OptionValue.Float eps; second ]
                    | _ -> OptionValue.Float eps

                let before = parameter.ToDoubles()

                try
                    let options = rule.Replace(rule.Defaults, "eps", value)

                    let struct (moved, _) =
                        rule.PureStep(
                            options,
                            Parameters.Of [ parameter ],
                            Gradients.OfDense [ tensor (Array.zeroCreate 4) ],
                            rule.Init(options, Parameters.Of [ parameter ])
                        )

                    Array.forall Double.IsFinite (moved[0].ToDoubles())
                    |> Verdict.require (fun () -> sprintf "eps %s in %O: not finite" (string eps) dtype)
                with :? OptionException as error ->
                    (error.Option = "eps" && parameter.ToDoubles() = before)
                    |> Verdict.require (fun () -> sprintf "eps %s in %O: %s" (string eps) dtype error.Message))

    let private extreme dtype =
        if dtype = DType.Float32 then 62 else 510

    /// G4: finite in, finite out; what overflows moves nothing.
    let overflow =
        Statement.about
            "G4"
            "finite gradients give finite results, and where a square overflows the step is zero"
            everyRule
            (fun rule ->
                { Recipe.any rule with
                    Gradients = fun random dtype -> Palette.logUniform -20 (extreme dtype) random dtype
                }
                |> Recipe.withOptions (
                    usualEps
                    @ noDecay
                    @ [
                        "betas", Options.ofPair (0.9, 0.999)
                        "alpha", Options.ofNumber 0.9
                        "rho", Options.ofNumber 0.9
                        "momentum", Options.ofNumber 0.5
                        "nesterov", off
                    ]
                ))
            (fun subject s ->
                let finite =
                    Snapshot.finite (Run.final subject s)
                    |> Verdict.require (fun () -> "not finite")

                let normalised =
                    named [ "Adadelta"; "Adagrad"; "Adam"; "AdamW"; "NAdam"; "RMSprop" ] s.Rule

                let zeroes =
                    if not normalised then
                        Verdict.Trivial
                    else
                        let huge =
                            Run.withOptions [ "momentum", zero; "centered", off ] s
                            |> Run.mapGradients (Array.map (fun g -> Math.CopySign((if s.DType = DType.Float32 then 1e30 else 1e200), g)))

                        Updates.exact subject huge
                        |> Seq.collect (Seq.concat)
                        |> Seq.map (fun x -> x = 0.0 |> Verdict.require (fun () -> sprintf "a step of %s" (string x)))
                        |> Verdict.all

                Verdict.both finite zeroes |> Verdict.tellingIf (Run.moves subject s))

    /// The laws of this family.
    let all = [ zeroGradient; zeroIsNotNone; illegalOptions; lostEps; overflow ]
