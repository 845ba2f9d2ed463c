/// Rules against plain functions of one element (law O1): product and samples hold, defects are found and shrunk to step and element.
module AgainstTests

open System
open Expecto
open Optim.Core
open Optim.Laws
open Optim.Laws.Mutant
open Mutants
open Plain

let private seen maximize decay x g =
    (if maximize then -g else g) + decay * x

/// Chen et al., arXiv:2302.06675, algorithm 2, on a definition's options.
let private lion (rule: DefinedRule) (o: DefinedOptions) (_: int) g (x, m) =
    let number option =
        match rule.Read(o, option) with
        | OptionValue.Float number -> number
        | other -> failtestf "%s is %O" option other

    let beta1, beta2 =
        match rule.Read(o, "betas") with
        | OptionValue.Tuple(Items [ OptionValue.Float beta1; OptionValue.Float beta2 ]) -> beta1, beta2
        | other -> failtestf "betas are %O" other

    let direction = beta1 * m + (1.0 - beta1) * g
    x - number "lr" * (float (sign direction) + number "weight_decay" * x), beta2 * m + (1.0 - beta2) * g

/// Sutskever et al. 2013 as PyTorch has it.
let private sgd (o: SGDOptions) (_: int) g (x, buffer) =
    let g = seen o.Maximize o.WeightDecay x g

    let buffer =
        match buffer with
        | ValueNone -> g
        | ValueSome before -> o.Momentum * before + (1.0 - o.Dampening) * g

    let step =
        if o.Momentum = 0.0 then g
        elif o.Nesterov then g + o.Momentum * buffer
        else buffer

    x - o.Lr * step, ValueSome buffer

/// Kingma and Ba 2015, Loshchilov and Hutter 2019, Reddi et al. 2018.
let private adam (o: AdamOptions) t g (x, (m, v, largest)) =
    let struct (beta1, beta2) = o.Betas

    let g = seen o.Maximize (if o.DecoupledWeightDecay then 0.0 else o.WeightDecay) x g

    let m, v = beta1 * m + (1.0 - beta1) * g, beta2 * v + (1.0 - beta2) * g * g
    let largest = max largest v

    let first, second =
        m / (1.0 - Math.Pow(beta1, float t)), (if o.Amsgrad then largest else v) / (1.0 - Math.Pow(beta2, float t))

    let decay = if o.DecoupledWeightDecay then o.Lr * o.WeightDecay else 0.0
    x - decay * x - o.Lr * first / (sqrt second + o.Eps), (m, v, largest)

let private moments (reference: Reference<AdamOptions, float * float * float>) =
    reference
    |> Reference.keeping "exp_avg" (fun (m, _, _) -> m)
    |> Reference.keeping "exp_avg_sq" (fun (_, v, _) -> v)

/// Duchi et al. 2011.
let private adagrad (o: AdagradOptions) t g (x, sum) =
    let g = seen o.Maximize o.WeightDecay x g
    let sum = sum + g * g
    x - o.Lr / (1.0 + float (t - 1) * o.LrDecay) * g / (sqrt sum + o.Eps), sum

/// Graves 2013, with the variance that rounding made negative at zero.
let private rmsprop (o: RMSpropOptions) (_: int) g (x, (square, mean, buffer)) =
    let g = seen o.Maximize o.WeightDecay x g
    let square = o.Alpha * square + (1.0 - o.Alpha) * g * g
    let mean = o.Alpha * mean + (1.0 - o.Alpha) * g

    let variance =
        if o.Centered then
            max 0.0 (square - mean * mean)
        else
            square

    let step = g / (sqrt variance + o.Eps)
    let buffer = o.Momentum * buffer + step
    x - o.Lr * buffer, (square, mean, buffer)

/// Adam, whose eps is not corrected.
let private sparseAdam (o: SparseAdamOptions) t g (x, (m, v)) =
    let struct (beta1, beta2) = o.Betas
    let g = if o.Maximize then -g else g
    let m, v = beta1 * m + (1.0 - beta1) * g, beta2 * v + (1.0 - beta2) * g * g

    let rate =
        o.Lr * sqrt (1.0 - Math.Pow(beta2, float t)) / (1.0 - Math.Pow(beta1, float t))

    x - rate * m / (sqrt v + o.Eps), (m, v)

let private held: Law list =
    [
        Laws.against
            (Reference.ofStep 0.0 (lion OwnRuleFSharp.Lion.rule)
             |> Reference.keeping "exp_avg" id)
            OwnRuleFSharp.Lion.rule
        Laws.against (Reference.ofStep ValueNone sgd) SGD.rule
        Laws.against (Reference.ofStep (0.0, 0.0, 0.0) adam |> moments) Adam.rule
        Laws.against (Reference.ofStep (0.0, 0.0, 0.0) adam |> moments) AdamW.rule
        Laws.against
            (Reference.startingAt _.InitialAccumulatorValue adagrad
             |> Reference.keeping "sum" id)
            Adagrad.rule
        Laws.against (Reference.ofStep (0.0, 0.0, 0.0) rmsprop) RMSprop.rule
        Laws.against (Reference.ofStep (0.0, 0.0) sparseAdam) SparseAdam.rule
    ]

let private cases, seed = 300, 20261123UL

let private found (reference: Reference<'o, 'm>) subject =
    (References.statement reference).Try subject cases seed

/// How many steps and elements a counterexample has, by its printed form.
let private size (trial: Trial) =
    let lines = trial.Case.Split '\n'

    let steps =
        lines
        |> Array.skipWhile (fun line -> line.Trim() <> "gradients:")
        |> Array.length

    let start = lines |> Array.find (fun line -> line.Contains "parameters:")
    steps - 1, (start |> Seq.filter (fun c -> c = ';' || c = '|') |> Seq.length) + 1

let private kills defect (reference: Reference<'o, 'm>) subject expected =
    test $"finds: {defect}" {
        let trial = found reference subject
        Cases.add "mutants" 1
        Expect.isNotEmpty trial.Broken "the law held"
        Expect.isFalse (trial.Why.Contains "Exception: ") trial.Broken
        Expect.equal (size trial) expected trial.Broken
    }

let private adamReference = Reference.ofStep (0.0, 0.0, 0.0) adam

let private mutants =
    [
        kills
            "Lion's coefficients are exchanged, in its second step"
            (Reference.ofStep 0.0 (lion OwnRuleFSharp.Lion.rule))
            (Subject.ofRule OwnRuleFSharp.Lion.rule
             |> withOptions (fun rule options ->
                 let struct (beta1, beta2) = Options.pair rule "betas" options
                 Options.set [ "betas", Options.ofPair (beta1, 1.0 - beta2) ] rule options))
            (2, 1)
        kills
            "one taken off twice in the bias correction"
            adamReference
            (Mutants.adam "Adam" (fun (lr, b1, b2, eps, decay, step) ->
                let power = Math.Pow(b1, float step)
                lr * (1.0 - power) / power, b1, b2, eps, decay, step))
            (1, 1)
        kills
            "a moment is another one, which a step does not show: by its column"
            (moments adamReference)
            (subject "Adam" |> columnBecomes "exp_avg_sq" 0.5)
            (1, 1)
        kills
            "the third element goes farther in its second step, which a single one does not show"
            (Reference.startingAt _.InitialAccumulatorValue adagrad)
            (subject "Adagrad"
             |> after (fun _ parameters _ state ->
                 for k in 0 .. parameters.Count - 1 do
                     if state.Count k = 2L && parameters[k].Count > 2n then
                         spoil parameters[k] 2))
            (2, 3)
    ]

[<Tests>]
let tests =
    testList
        "against"
        [
            for law in held do
                testCase law.Name (fun () -> Cases.add "laws" (law.Check()))
            testCase "the sample in C#" (fun () ->
                let law =
                    Laws.against (Reference.ofStep 0.0 (lion OwnRuleCSharp.Lion.TheRule)) OwnRuleCSharp.Lion.TheRule

                Cases.add "laws" (law.Check()))
            yield! mutants
            test "a rule that looks at whole tensors has no reference of one element" {
                let never _ _ _ element = element

                let wrong () =
                    Laws.against (Reference.ofStep 0.0 never) Muon.rule |> ignore

                Expect.throwsT<ArgumentException> wrong "refused"
            }
        ]
