/// Rules by definition: against recorded runs and the same rule as a formula, and what is refused when one is made.
module DefinitionTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Core.Definitions
open Optim.Kernels
open Optim.Laws
open global.Reference
open Golden
open Kit
open Plain

let private rules: (string * Rule) list =
    [
        "Lion", OwnRuleFSharp.Lion.rule :> Rule
        "LAMB", DefinedRules.lamb :> Rule
        "AdaBelief", DefinedRules.adaBelief :> Rule
    ]

/// The options of a recorded case that a rule has; those that it lacks must be as the rule has them always.
let private optionsOf (rule: Rule) (recorded: (string * Setting) list) =
    let always =
        Map
            [
                "weight_decouple", Flag true
                "fixed_decay", Flag false
                "rectify", Flag false
                "adam", Flag false
                "grad_averaging", Flag true
            ]

    [
        for name, value in recorded do
            if rule.Has name then
                match value with
                | Number number -> name, Options.ofNumber number
                | Pair(a, b) -> name, Options.ofPair (a, b)
                | Flag flag -> name, Options.ofFlag flag
                | other -> failtestf "%s is %O" name other
            else
                match always.TryFind name with
                | Some known when known <> value -> failtestf "%s: %s is %O" rule.Name name value
                | _ -> ()
    ]

let private repeat (rule: Rule) recorded (case: Case) =
    let parameters =
        case.Groups
        |> List.collect _.Parameters
        |> List.mapi (fun i p -> Param.Zeros(string i, DType.Float64, p.Shape), p.Initial)

    for parameter, initial in parameters do
        initial.AsSpan().CopyTo(parameter.Data<float>())

    let options =
        optionsOf rule recorded
        |> List.map (fun (name, value) -> struct (name, value))
        |> List.toArray

    let optimizer =
        RuleOptimizer(rule, parameters |> Seq.map (fun (p, _) -> p :> IParameterOrGroup), options)

    let mutable worst = 0.0

    for step in 0 .. case.Gradients.Length - 1 do
        for (parameter, _), gradient in List.zip parameters case.Gradients[step] do
            match gradient with
            | Some values -> parameter.SetGradient(ReadOnlySpan<float> values)
            | None -> parameter.DropGradient()

        optimizer.Step()

        for (parameter, _), expected in List.zip parameters case.Expected[step] do
            let found = parameter.Data<float>().ToArray()

            for a, b in Array.zip found expected do
                worst <- max worst (abs (a - b) / (1.0 + abs b))

    worst

let private goldenTests =
    [
        for name, rule in rules do
            test (sprintf "golden/beyond: %s by definition" name) {
                let file = Path.Combine(folder, "beyond", "optimizers.json")

                if not (File.Exists file) then
                    skiptest "no golden/beyond"

                let mutable cases = 0

                for element in Golden.cases file do
                    if field "optimizer" element |> Golden.text = name then
                        let recorded = field "all_options" element |> pairs setting
                        Expect.isLessThan (repeat rule recorded (case element)) 1e-11 name
                        cases <- cases + 1

                Expect.isGreaterThan cases 0 "recorded cases"
                Cases.add "definitions" cases
            }
    ]

/// A rule of one option and one column, with something wrong in it.
let private define (body: RuleDefinition -> Expression) () = Rule.define "Wrong" body |> ignore

let private refusals: (string * string * (RuleDefinition -> Expression)) list =
    let foreign = Expression.Named(Operation.Option, "elsewhere")

    let number (r: RuleDefinition) name =
        r.Number(name, 0.1, Interval.atLeast 0.0)

    [
        "an option of another rule", "option 'elsewhere' is not declared", (fun r -> r.Parameter * foreign)
        "an option twice",
        "option 'lr' is declared twice",
        (fun r ->
            number r "lr" |> ignore
            number r "lr" * r.Parameter)
        "a default outside of its range",
        "lr is -1; lr must be at least 0",
        (fun r -> r.Number("lr", -1.0, Interval.atLeast 0.0) * r.Parameter)
        "a column that is never set", "column 'm' is declared and never set", (fun r -> r.Parameter - r.Column "m")
        "a column of another rule", "there is no array 'm'", (fun r -> r.Parameter - Expression.Input "m")
        "a column twice",
        "'m' is declared twice",
        (fun r ->
            r.Column "m" |> ignore
            r.Parameter - r.Column "m")
        "a column set twice",
        "'m' is set twice",
        (fun r ->
            let m = r.Column "m"
            r.Set(m, r.Gradient)
            r.Set(m, r.Gradient)
            r.Parameter)
        "a column set to a number",
        "column 'm' holds elements, and is set to sqrt(sum_of_squares(grad)), which is one number",
        (fun r ->
            r.Set(r.Column "m", norm r.Gradient)
            r.Parameter)
        "a parameter set",
        "param is set, and is no column",
        (fun r ->
            r.Set(r.Parameter, r.Gradient)
            r.Parameter)
        "a column called as the gradient", "'grad' is the name of the parameter or the gradient", (fun r -> r.Parameter - r.Column "grad")
        "a column that starts at something else",
        "column 'm' starts at t; it can start at a constant or at an option",
        (fun r -> r.Parameter - r.Column("m", r.Step))
        "a parameter that becomes a number", "the parameter becomes lr, which is one number", (fun r -> number r "lr")
        "the norm of a number", "lr is one number, and a reduction is of elements", (fun r -> r.Parameter * norm (number r "lr"))
        "the norm of a norm",
        "sqrt(sum_of_squares(grad)) is one number, and a reduction is of elements",
        (fun r -> r.Parameter * globalNorm (norm r.Gradient))
        "a kept number of elements",
        "'k' is a number of the step, and is set to sqrt(sum_of_squares(grad)), which depends on elements",
        (fun r ->
            r.Set(r.Kept("k", 0.0), norm r.Gradient)
            r.Parameter)
        "a tensor's number of elements",
        "'k' is a number of each tensor, and is set to grad, which is of elements",
        (fun r ->
            r.Set(r.TensorNumber("k", 0.0), r.Gradient)
            r.Parameter)
        "a kept number that is never set", "the kept number 'k' is declared and never set", (fun r -> r.Parameter * r.Kept("k", 0.0))
        "49 columns",
        "'49' is one column too many; a rule keeps 48 at most",
        (fun r ->
            for i in 1..49 do
                r.Set(r.Column(string i), r.Gradient)

            r.Parameter)
        "options that depend on a flag",
        "the options that it declares depend on its flags",
        (fun r ->
            if r.Flag("more", false) then
                r.Parameter * number r "lr"
            else
                r.Parameter)
    ]

let private refusalTests =
    test "what is wrong with a definition is refused when it is made, by its name" {
        for what, words, body in refusals do
            Expect.throwsC (define body) (fun error ->
                Expect.isTrue (error :? ArgumentException) what
                Expect.stringContains error.Message "Wrong" what
                Expect.stringContains error.Message words what)

            Cases.add "definitions" 1

        let unknown () =
            DefinedRules.lamb.With(struct ("learning_rate", OptionValue.Float 1.0))
            |> ignore

        Expect.throwsC unknown (fun error -> Expect.stringContains error.Message "LAMB has no option 'learning_rate'" "an unknown option")
    }

/// A rule once by its formula and once by definition, over generated runs.
let private sameTests =
    test "NAdam by definition comes to the formula's numbers, with the same state" {
        let formula, definition = Rules.Find "NAdam", DefinedRules.nAdam :> Rule
        Expect.sequenceEqual definition.ColumnNames formula.ColumnNames "columns"
        Expect.sequenceEqual definition.ScalarNames formula.ScalarNames "kept numbers"
        Expect.equal definition.KeepsStep formula.KeepsStep "step"

        for dtype in [ DType.Float64; DType.Float32; DType.Float16; DType.BFloat16 ] do
            let s = KernelRuns.scenario formula formula.Defaults dtype 9 37
            let expected = KernelRuns.run formula s

            let found =
                KernelRuns.run
                    definition
                    { s with
                        Rule = definition
                        Options = definition.Defaults
                    }

            let bound = if dtype = DType.Float64 then 1e-12 else 2e-2

            for a, b in Array.zip expected.Theta[0] found.Theta[0] do
                Expect.isLessThan (abs (a - b)) (bound * (1.0 + abs a)) (dtype.Name())

            for (name, a), (_, b) in List.zip expected.Scalars found.Scalars do
                Expect.isLessThan (abs (a[0] - b[0])) 1e-14 name

        let numbers rule options =
            (rule: Rule).Numbers options
            |> Seq.map (fun n -> n.Name, n.Option, n.Part)
            |> Set.ofSeq

        Expect.equal
            (numbers definition definition.Defaults)
            (set
                [
                    "lr", "lr", -1
                    "beta1", "betas", 0
                    "beta2", "betas", 1
                    "eps", "eps", -1
                    "momentum_decay", "momentum_decay", -1
                    "weight_decay", "weight_decay", -1
                ])
            "the numbers that a step reads"
    }

let private flagTests =
    test "a flag chooses formula and columns, and step after step allocates little" {
        let rule = DefinedRules.adaBelief
        let bounded = rule.With(struct ("ams_bound", OptionValue.Bool true))
        Expect.sequenceEqual (rule.ColumnsUnder rule.Defaults) [ "exp_avg"; "exp_avg_var" ] "without"
        Expect.sequenceEqual (rule.ColumnsUnder bounded) [ "exp_avg"; "exp_avg_var"; "max_exp_avg_var" ] "with"

        let parameters = Parameters.Of [ TensorView.Of [| 1.0; 2.0 |] ]
        let gradients = Gradients.OfDense [ TensorView.Of [| 0.5; -0.5 |] ]

        let mutable state =
            rule.Step(bounded, parameters, gradients, rule.Init(bounded, parameters))

        Expect.isFalse (state["max_exp_avg_var"].[0].IsAbsent) "the column that the flag asks for"
        state <- rule.Step(bounded, parameters, gradients, state)
        let current = ref state

        let step () =
            current.Value <- rule.Step(bounded, parameters, gradients, current.Value)

        Expect.isLessThan (bytesOf step) 512L "bytes"
        state <- current.Value

        // From one setting to the other, in the same state.
        state <- rule.Step(rule.Defaults, parameters, gradients, state)
        Expect.equal state.Counts[0] 8L "steps"
        Expect.equal (bounded.Equals(rule.With(struct ("ams_bound", OptionValue.Bool true)))) true "options are compared by content"
        Expect.equal (bounded.Equals rule.Defaults) false "options that differ"
    }

let private numberTests =
    test "a number of each tensor is made of its norm, and is a tensor without dimensions in the state" {
        let rule = DefinedRules.novoGrad

        for dtype, kept in [ DType.Float64, DType.Float64; DType.BFloat16, DType.Float32 ] do
            let tensor (values: float array) =
                TensorView.OfDoubles(dtype, ReadOnlySpan<float> values, ReadOnlySpan [| 2L; 2L |])

            let parameters =
                Parameters.Of [ tensor [| 1.0; 2.0; 3.0; 4.0 |]; tensor [| 5.0; 6.0; 7.0; 8.0 |] ]

            let gradients =
                Gradients.OfDense [ tensor [| 3.0; 0.0; 0.0; 4.0 |]; tensor [| 0.0; 0.0; 6.0; 8.0 |] ]

            let state =
                rule.Step(rule.Defaults, parameters, gradients, rule.Init(rule.Defaults, parameters))

            for row, expected in [ 0, 25.0; 1, 100.0 ] do
                let number = state["grads_ema"].[row]
                Expect.isTrue number.Layout.Shape.IsEmpty "no dimensions"
                Expect.equal number.DType kept "dtype"
                Expect.equal (number.ToDoubles()) [| expected |] "the squared norm"

        Expect.sequenceEqual (Explanation.ofRule rule rule.Defaults).Columns [ "moments" ] "kept for each element"
        Expect.sequenceEqual (Explanation.ofRule rule rule.Defaults).Numbers [ "grads_ema" ] "kept for each parameter"
    }

[<Tests>]
let tests =
    testSequenced
    <| testList "definitions" (goldenTests @ [ refusalTests; sameTests; flagTests; numberTests ])
