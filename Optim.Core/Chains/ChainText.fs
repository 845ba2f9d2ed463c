namespace Optim.Core

open System
open System.Collections.Generic
open System.Globalization
open Optim.Kernels

/// A part of a chain as it is written: a name, and what stands in its parentheses.
[<RequireQualifiedAccess>]
type internal ChainTerm =
    | Call of name: string * arguments: (string * ChainTerm) list
    | Number of double
    | Flag of bool
    | Text of string

/// Chains and wrapped rules by their names, as one writes them: chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-3)).
module internal ChainText =
    let private refuse (text: string) (words: string) =
        raise (ArgumentException $"'{text}': {words}")

    /// Reads a call with its arguments, each with a name or "".
    let parse (text: string) : ChainTerm =
        let mutable at = 0

        let skip () =
            while at < text.Length && Char.IsWhiteSpace text[at] do
                at <- at + 1

        let wrong (expected: string) =
            let found = if at < text.Length then $"'{text[at]}'" else "the end"
            refuse text $"expected {expected} at character {at + 1}, and there is {found}"

        let isWord letter =
            Char.IsAsciiLetterOrDigit letter || letter = '_'

        let word () =
            let first = at

            while at < text.Length && isWord text[at] do
                at <- at + 1

            text[first .. at - 1]

        let rec term () : ChainTerm =
            skip ()

            if at = text.Length then
                wrong "a name or a number"
            elif text[at] = '"' || text[at] = '\'' then
                let quote, first = text[at], at + 1
                at <- text.IndexOf(quote, first)

                if at < 0 then
                    at <- text.Length
                    wrong $"the closing {quote}"

                at <- at + 1
                ChainTerm.Text text[first .. at - 2]
            elif Char.IsAsciiLetter text[at] || text[at] = '_' then
                let name = word ()
                skip ()

                match name.ToLowerInvariant() with
                | "true" -> ChainTerm.Flag true
                | "false" -> ChainTerm.Flag false
                | _ when at < text.Length && text[at] = '(' ->
                    at <- at + 1
                    ChainTerm.Call(name, arguments [])
                | _ -> ChainTerm.Call(name, [])
            else
                let first = at

                while at < text.Length
                      && (isWord text[at] || text[at] = '.' || text[at] = '-' || text[at] = '+') do
                    at <- at + 1

                match Double.TryParse(text[first .. at - 1], NumberStyles.Float, CultureInfo.InvariantCulture) with
                | true, number -> ChainTerm.Number number
                | _ ->
                    at <- first
                    wrong "a name or a number"

        and arguments before =
            skip ()

            if at < text.Length && text[at] = ')' && before.IsEmpty then
                at <- at + 1
                []
            else
                let value = term ()
                skip ()

                let argument =
                    match value with
                    | ChainTerm.Call(name, []) when at < text.Length && text[at] = '=' ->
                        at <- at + 1
                        name, term ()
                    | _ -> "", value

                skip ()
                let all = argument :: before

                if at < text.Length && text[at] = ',' then
                    at <- at + 1
                    arguments all
                elif at < text.Length && text[at] = ')' then
                    at <- at + 1
                    List.rev all
                else
                    wrong "',' or ')'"

        let found = term ()
        skip ()

        if at < text.Length then
            wrong "the end"

        found

    /// What a name takes: arguments with their defaults, none for those that must be given.
    type private Known<'made> =
        {
            Arguments: (string * double voption) list
            Make: double array -> 'made
        }

    let private must name = name, ValueNone
    let private may name (value: double) = name, ValueSome value
    let private flag (value: double) = value <> 0.0

    let private transforms: (string * Known<Transform>) list =
        let known name arguments make =
            name, { Arguments = arguments; Make = make }

        let betas = [ may "beta1" 0.9; may "beta2" 0.999 ]

        [
            known "identity" [] (fun _ -> Transforms.Identity)
            known "scale" [ must "step_size" ] (fun a -> Transforms.Scale a[0])
            known "scale_by_learning_rate" [ must "lr" ] (fun a -> Transforms.ScaleByLearningRate a[0])
            known "scale_by_adam" (betas @ [ may "eps" 1e-8; may "eps_root" 0.0; may "nesterov" 0.0 ]) (fun a ->
                Transforms.ScaleByAdam(a[0], a[1], a[2], a[3], flag a[4]))
            known "scale_by_amsgrad" (betas @ [ may "eps" 1e-8; may "eps_root" 0.0 ]) (fun a ->
                Transforms.ScaleByAmsgrad(a[0], a[1], a[2], a[3]))
            known "scale_by_rms" [ may "decay" 0.9; may "eps" 1e-8; may "initial_scale" 0.0 ] (fun a ->
                Transforms.ScaleByRms(a[0], a[1], a[2]))
            known "scale_by_stddev" [ may "decay" 0.9; may "eps" 1e-8; may "initial_scale" 0.0 ] (fun a ->
                Transforms.ScaleByRms(a[0], a[1], a[2], true))
            known "scale_by_lion" [ may "beta1" 0.9; may "beta2" 0.99 ] (fun a -> Transforms.ScaleByLion(a[0], a[1]))
            known "scale_by_adamax" (betas @ [ may "eps" 1e-8 ]) (fun a -> Transforms.ScaleByAdamax(a[0], a[1], a[2]))
            known "scale_by_belief" (betas @ [ may "eps" 1e-16; may "eps_root" 1e-16 ]) (fun a ->
                Transforms.ScaleByBelief(a[0], a[1], a[2], a[3]))
            known
                "scale_by_yogi"
                (betas
                 @ [ may "eps" 1e-3; may "eps_root" 0.0; may "initial_accumulator_value" 1e-6 ])
                (fun a -> Transforms.ScaleByYogi(a[0], a[1], a[2], a[3], a[4]))
            known "scale_by_novograd" [ may "beta1" 0.9; may "beta2" 0.25; may "eps" 1e-6; may "weight_decay" 0.0 ] (fun a ->
                Transforms.ScaleByNovograd(a[0], a[1], a[2], a[3]))
            known "scale_by_trust_ratio" [ may "min_norm" 0.0; may "trust_coefficient" 1.0; may "eps" 0.0 ] (fun a ->
                Transforms.ScaleByTrustRatio(a[0], a[1], a[2]))
            known "scale_by_rss" [ may "initial_accumulator_value" 0.1; may "eps" 1e-7 ] (fun a -> Transforms.ScaleByRss(a[0], a[1]))
            known "scale_by_adadelta" [ may "rho" 0.9; may "eps" 1e-6 ] (fun a -> Transforms.ScaleByAdadelta(a[0], a[1]))
            known
                "scale_by_ademamix"
                (betas
                 @ [ may "beta3" 0.9999; may "alpha" 6.0; may "eps" 1e-8; may "eps_root" 0.0 ])
                (fun a -> Transforms.ScaleByAdemamix(a[0], a[1], a[2], a[3], a[4], a[5]))
            known "trace" [ must "decay"; may "nesterov" 0.0 ] (fun a -> Transforms.Trace(a[0], flag a[1]))
            known "ema" [ must "decay"; may "debias" 1.0 ] (fun a -> Transforms.Ema(a[0], flag a[1]))
            known "add_decayed_weights" [ must "weight_decay" ] (fun a -> Transforms.AddDecayedWeights a[0])
            known "add_noise" [ must "eta"; must "gamma"; may "seed" 0.0 ] (fun a -> Transforms.AddNoise(a[0], a[1], a[2]))
            known "clip" [ must "max_delta" ] (fun a -> Transforms.Clip a[0])
            known "clip_by_global_norm" [ must "max_norm" ] (fun a -> Transforms.ClipByGlobalNorm a[0])
            known "clip_by_block_rms" [ must "threshold" ] (fun a -> Transforms.ClipByBlockRms a[0])
            known "adaptive_grad_clip" [ must "clipping"; may "eps" 1e-3; may "output_first" 0.0 ] (fun a ->
                Transforms.AdaptiveGradClip(a[0], a[1], flag a[2]))
            known "centralize" [] (fun _ -> Transforms.Centralize)
            known "normalize_by_update_norm" [ may "scale_factor" 1.0; may "eps" 1e-6 ] (fun a ->
                Transforms.NormalizeByUpdateNorm(a[0], a[1]))
            known "sign" [] (fun _ -> Transforms.Sign)
            known "zero_nans" [] (fun _ -> Transforms.ZeroNans)
            known "set_to_zero" [] (fun _ -> Transforms.SetToZero)
            known "scale_by_optimistic_gradient" [ may "alpha" 1.0; may "beta" 1.0 ] (fun a ->
                Transforms.ScaleByOptimisticGradient(a[0], a[1]))
            known "fromage" [ must "lr"; may "min_norm" 1e-6 ] (fun a -> Transforms.Fromage(a[0], a[1]))
            known "scale_by_param_block_norm" [ may "min_scale" 1e-3 ] (fun a -> Transforms.ScaleByParamBlockNorm a[0])
            known "scale_by_param_block_rms" [ may "min_scale" 1e-3 ] (fun a -> Transforms.ScaleByParamBlockRms a[0])
            known "cautious" [ may "rescale" 1.0 ] (fun a -> Transforms.Cautious(flag a[0]))
        ]

    let private whole name (value: double) =
        if Math.Floor value <> value || abs value > 1e9 then
            raise (OptionException($"{name} is {OptionValue.Float value}; it must be a whole number", name))

        int value

    /// Each takes its numbers, and a rule after them.
    let private wrappers: (string * Known<Rule -> Rule>) list =
        let known name arguments make =
            name, { Arguments = arguments; Make = make }

        [
            known "lookahead" [ may "k" 5.0; may "alpha" 0.5 ] (fun a rule -> Wrappers.Lookahead(rule, whole "k" a[0], a[1]))
            known "accumulate" [ must "calls" ] (fun a rule -> Wrappers.Accumulate(rule, whole "calls" a[0]))
            known "apply_if_finite" [ must "most_errors" ] (fun a rule -> Wrappers.ApplyIfFinite(rule, whole "most_errors" a[0]))
            known "skip_large_updates" [ must "max_squared_norm" ] (fun a rule -> Wrappers.SkipLargeUpdates(rule, a[0]))
            known "average" [ must "decay" ] (fun a rule -> Wrappers.Average(rule, a[0]))
            known
                "schedule_free"
                [
                    may "momentum" 0.9
                    may "weight_decay" 0.0
                    may "r" 0.0
                    may "weight_lr_power" 2.0
                ]
                (fun a rule -> Wrappers.ScheduleFree(rule, a[0], a[1], a[2], a[3]))
            known "cautious" [ may "rescale" 1.0 ] (fun a rule -> Wrappers.Cautious(rule, flag a[0]))
            known "ortho_grad" [] (fun _ rule -> Wrappers.OrthoGrad rule)
            known "gradient_noise" [ must "eta"; may "gamma" 0.55; may "seed" 0.0 ] (fun a rule ->
                Wrappers.GradientNoise(rule, a[0], a[1], a[2]))
            known "trac" [ may "s_prev" 1e-8; may "eps" 1e-8 ] (fun a rule -> Wrappers.Trac(rule, null, a[0], a[1]))
        ]

    /// The numbers of a call, by place and then by name.
    let private numbers text name (known: (string * double voption) list) (given: (string * ChainTerm) list) =
        let names = known |> List.map fst
        let found = Dictionary<string, double>(StringComparer.Ordinal)

        for index, (argument, value) in List.indexed given do
            let argument =
                if argument <> "" then
                    argument
                elif index < names.Length then
                    names[index]
                else
                    refuse text $"{name} takes {names.Length} arguments, and {given.Length} are given"

            if not (List.contains argument names) then
                let takes = String.Join(", ", names)
                refuse text $"{name} has no '{argument}'{Names.didYouMean argument names} It takes: {takes}"

            let number =
                match value with
                | ChainTerm.Number number -> number
                | ChainTerm.Flag flag -> if flag then 1.0 else 0.0
                | _ -> refuse text $"{argument} of {name} must be a number, True or False"

            if not (found.TryAdd(argument, number)) then
                refuse text $"{argument} of {name} is given twice"

        [|
            for argument, value in known ->
                match found.TryGetValue argument, value with
                | (true, number), _ -> number
                | _, ValueSome number -> number
                | _, ValueNone -> refuse text $"{name} needs {argument}"
        |]

    let rec private transform text term : Transform =
        match term with
        | ChainTerm.Call(name, arguments) ->
            match name, arguments with
            | ("where" | "freeze"), ("", ChainTerm.Text pattern) :: rest ->
                let inner =
                    match name, rest with
                    | "freeze", [] -> Transforms.SetToZero
                    | "freeze", _ -> refuse text "freeze takes a pattern alone"
                    | _, [] -> refuse text "where takes a pattern and the transforms that apply to the parameters it matches"
                    | _ -> Transform.Sequence [| for _, item in rest -> transform text item |]

                inner.Where(Func<_, _>(Chain.isNamed pattern))
            | ("where" | "freeze"), _ -> refuse text $"{name} begins with a pattern of names in quotes, such as \"*.weight\""
            | _ ->
                match transforms |> List.tryFind (fun (known, _) -> known = name) with
                | Some(_, known) -> known.Make(numbers text name known.Arguments arguments)
                | None ->
                    let names = List.map fst transforms @ [ "where"; "freeze" ]
                    let known = String.Join(", ", names)
                    refuse text $"there is no transform '{name}'{Names.didYouMean name names} There are: {known}"
        | _ -> refuse text "a chain is made of transforms, such as scale(-1e-3)"

    /// The rule of a text that is a call; rules by their names where they stand inside.
    let rec rule (text: string) (find: string -> Rule) term : Rule =
        match term with
        | ChainTerm.Call("chain", items) ->
            for name, _ in items do
                if name <> "" then
                    refuse text $"a chain is made of transforms, and '{name}=' is none"

            Chains.Of [| for _, item in items -> transform text item |] :> Rule
        | ChainTerm.Call(name, arguments) when not arguments.IsEmpty ->
            match wrappers |> List.tryFind (fun (known, _) -> known = name) with
            | Some(_, known) ->
                match List.rev arguments with
                | ("", inner) :: before when inner.IsCall ->
                    known.Make (numbers text name known.Arguments (List.rev before)) (rule text find inner)
                | _ -> refuse text $"the last argument of {name} must be the rule around which it is, such as adamw"
            | None ->
                let names = "chain" :: List.map fst wrappers
                let known = String.Join(", ", names)
                refuse text $"there is no '{name}' of rules{Names.didYouMean name names} There are: {known}"
        | ChainTerm.Call(name, []) -> find name
        | _ -> refuse text "expected a rule, such as adamw or chain(scale_by_adam, scale(-1e-3))"

    /// Whether a text is more than a name.
    let isCall (text: string) = text.Contains '('

    /// All names, for messages.
    let wrapperNames = List.map fst wrappers
