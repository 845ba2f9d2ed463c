namespace Optim.Laws

open System
open System.Collections.Generic
open FsCheck
open FsCheck.FSharp
open Optim.Core

/// Options by their names.
[<RequireQualifiedAccess>]
module Options =
    /// Whether the rule has an option of that name.
    let has (name: string) (rule: Rule) =
        // A rate that is None by default is made of the step's number, and may not be given beside that.
        rule.OptionNames.Contains name
        && not (name = "lr" && rule.Read(rule.Defaults, name) = OptionValue.None)

    /// The options with these values; names that the rule does not have are passed over, and the first of three numbers take the place of a pair.
    let set (values: (string * OptionValue) list) (rule: Rule) (options: IOptimizerOptions) : IOptimizerOptions =
        let suited name value =
            match rule.Read(options, name), value with
            | OptionValue.Tuple usual, OptionValue.Tuple given when given.Length < usual.Length ->
                OptionValue.Tuple(given.AddRange(Seq.skip given.Length usual))
            | _ -> value

        rule.Replace(
            options,
            values
            |> List.filter (fun (name, _) -> has name rule)
            |> List.map (fun (name, value) -> KeyValuePair(name, suited name value))
        )

    /// A number among the options.
    let number (rule: Rule) (name: string) (options: IOptimizerOptions) : float =
        OptionValue.op_Explicit (rule.Read(options, name)): float

    /// A flag among the options; false where the rule does not have it.
    let flag (rule: Rule) (name: string) (options: IOptimizerOptions) : bool =
        has name rule && (OptionValue.op_Explicit (rule.Read(options, name)): bool)

    /// A pair among the options.
    let pair (rule: Rule) (name: string) (options: IOptimizerOptions) : struct (float * float) =
        OptionValue.op_Explicit (rule.Read(options, name)): struct (float * float)

    /// A number as the value of an option.
    let ofNumber (value: float) : OptionValue = OptionValue.op_Implicit value

    /// A pair as the value of an option.
    let ofPair (first: float, second: float) : OptionValue =
        OptionValue.op_Implicit (struct (first, second))

    /// A flag as the value of an option.
    let ofFlag (value: bool) : OptionValue = OptionValue.op_Implicit value

    let private numbers = List.map ofNumber
    let private pairs = List.map ofPair
    let private flags = [ ofFlag false; ofFlag true ]

    /// The edges of the options that optimizers have in common.
    let edges: (string * OptionValue list) list =
        [
            "lr", numbers [ 1e-3; 0.1; 0.0; 1.0; 0.5 ]
            "betas", pairs [ 0.9, 0.999; 0.0, 0.0; 0.5, 0.5; 0.0, 0.999; 0.9, 0.0; 0.9999, 0.99999 ]
            "eps", numbers [ 1e-8; 1e-3; 0.0; 1.0 ]
            "weight_decay", numbers [ 0.0; 1e-2; 0.5; 1.0 ]
            "momentum", numbers [ 0.0; 0.9; 0.5; 0.99 ]
            "dampening", numbers [ 0.0; 0.1; 0.5; 1.0 ]
            "rho", numbers [ 0.9; 0.99; 0.0; 0.5; 1.0 ]
            "lr_decay", numbers [ 0.0; 0.1; 1.0; 1e-3 ]
            "initial_accumulator_value", numbers [ 0.0; 0.1; 1.0 ]
            "momentum_decay", numbers [ 4e-3; 0.0; 0.1; 1.0 ]
            "lambd", numbers [ 1e-4; 0.0; 0.1; 1.0 ]
            "t0", numbers [ 1e6; 0.0; 2.0; 5.0; -3.0 ]
            "alpha", numbers [ 0.99; 0.9; 0.0; 0.5; 1.0 ]
            "etas", pairs [ 0.5, 1.2; 0.1, 2.0; 0.99, 1.01 ]
            "step_sizes", pairs [ 1e-6, 50.0; 1e-3, 0.1; 0.0, 1.0 ]
            "amsgrad", flags
            "nesterov", flags
            "centered", flags
            "maximize", flags
            "decoupled_weight_decay", flags
        ]

    /// How a step is run, and not what it does.
    let private execution =
        Set.ofList [ "foreach"; "fused"; "capturable"; "differentiable" ]

    /// Values of an option that only its rule knows, beside the usual one: not far from it, as nothing is known of what they mean.
    let private near (rule: Rule) (name: string) (usual: OptionValue) =
        let near x =
            if x = 0.0 then [ 0.1; 0.5 ] else [ x / 2.0; 2.0 * x ]

        match usual with
        | _ when rule.ChoicesOf(name).Count > 0 -> List.ofSeq (rule.ChoicesOf name)
        | OptionValue.Bool _ -> flags
        | OptionValue.Float x -> numbers (near x)
        | OptionValue.Int x -> [ for other in [ x / 2L; 2L * x; x + 1L ] -> OptionValue.Int other ]
        // What is off by default: numbers that are of some range.
        | OptionValue.None -> numbers [ 0.5; 4.0 ]
        | OptionValue.Tuple parts ->
            [
                for i, part in Seq.indexed parts do
                    match part with
                    | OptionValue.Float x ->
                        yield!
                            near x
                            |> List.map (fun x -> OptionValue.Tuple(parts.SetItem(i, OptionValue.Float x)))
                    | _ -> ()
            ]
        | _ -> []

    // What the rule refuses, alone or beside what was drawn before, stays as it was.
    let private put (rule: Rule) (name: string) (value: OptionValue) (options: IOptimizerOptions) =
        try
            rule.Replace(options, name, value)
        with :? OptionException ->
            options

    let private drawn (rule: Rule) (value: string -> Gen<OptionValue>) : Gen<IOptimizerOptions> =
        rule.OptionNames
        |> Seq.fold (fun options name -> Gen.map2 (put rule name) (value name) options) (Gen.constant rule.Defaults)

    let private between =
        let digits low high =
            Gen.choose (0, 1_000_000)
            |> Gen.map (fun x -> ofNumber (low * Math.Pow(high / low, float x / 1e6)))

        function
        | "lr" -> Some(digits 1e-5 1.0)
        | "weight_decay"
        | "lr_decay"
        | "momentum_decay"
        | "lambd"
        | "initial_accumulator_value" -> Some(digits 1e-5 1.0)
        | "momentum"
        | "dampening"
        | "rho"
        | "alpha" -> Some(digits 0.05 0.999)
        | _ -> None

    /// Options at their defaults, at an edge, or somewhere between.
    let generate (rule: Rule) : Gen<IOptimizerOptions> =
        let value name =
            let usual = rule.Read(rule.Defaults, name)

            let others =
                match List.tryFind (fun (known, _) -> known = name) edges with
                | Some(_, edges) -> edges
                | None when
                    (rule.Scope = RuleScope.Elements || rule :? DefinedRule)
                    && not (execution.Contains name)
                    ->
                    near rule name usual
                | None -> []

            Gen.frequency
                [
                    2, Gen.constant usual
                    if not (List.isEmpty others) then
                        2, Gen.elements others
                    match between name with
                    | Some anywhere -> 1, anywhere
                    | None -> ()
                ]

        drawn rule value

    /// The default options, now and then with a flag turned, but for maximize, or with a smaller rate: what an optimizer should do well under.
    let mild (rule: Rule) : Gen<IOptimizerOptions> =
        drawn rule (fun name ->
            let usual = rule.Read(rule.Defaults, name)

            match name, usual with
            // Decay that does not go by the rate pulls to 0 as far as it likes.
            | "fixed_decay", _ -> Gen.constant usual
            | "lr", OptionValue.Float lr -> Gen.frequency [ 3, Gen.constant usual; 1, Gen.constant (ofNumber (lr / 8.0)) ]
            | "maximize", _ -> Gen.constant usual
            | _, OptionValue.Bool flag when not (execution.Contains name) ->
                Gen.frequency [ 3, Gen.constant usual; 1, Gen.constant (ofFlag (not flag)) ]
            | _ -> Gen.constant usual)

    /// What people set: means over five steps to ten thousand, decay to a tenth.
    let private everyday: (string * OptionValue list) list =
        [
            "betas", pairs [ 0.9, 0.99; 0.8, 0.95; 0.5, 0.9; 0.95, 0.9999 ]
            "momentum", numbers [ 0.0; 0.8; 0.99 ]
            "rho", numbers [ 0.95; 0.999 ]
            "alpha", numbers [ 0.9; 0.999 ]
            "weight_decay", numbers [ 0.0; 1e-2; 0.1 ]
        ]

    /// Mild options, with such numbers in every second run for each that the rule has.
    let usual (rule: Rule) : Gen<IOptimizerOptions> =
        let draw options (name, values) =
            if has name rule then
                Gen.frequency
                    [
                        1, options
                        1, Gen.map2 (fun options value -> put rule name value options) options (Gen.elements values)
                    ]
            else
                options

        List.fold draw (mild rule) everyday

    /// Names and values, as in lr=0.001, momentum=0.9.
    let describe (rule: Rule) (options: IOptimizerOptions) =
        rule.OptionNames
        |> Seq.map (fun name -> name + "=" + string (rule.Read(options, name)))
        |> String.concat ", "

    /// The options with one of them back at its default, for each that is not and need not be as it is.
    let shrink (rule: Rule) (needed: string list) (options: IOptimizerOptions) : IOptimizerOptions seq =
        seq {
            for name in Seq.except needed rule.OptionNames do
                let usual = rule.Read(rule.Defaults, name)

                if not ((rule.Read(options, name)).Equals usual) then
                    let simpler =
                        try
                            Some(rule.Replace(options, name, usual))
                        with :? OptionException ->
                            None

                    yield! Option.toList simpler
        }
