/// `optim explain`: what a rule does, recorded from its formula.
module ExplainTests

open System.IO
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Command

let private explained = succeeds "explain"

let private has (output: string) (words: string list) =
    for text in words do
        Expect.stringContains output text text

let private adamTests =
    test "AdamW: options with ranges, state, the formula with its numbers of the step, and the traffic" {
        has
            (explained [ "adamw" ])
            [
                "AdamW"
                "  0.001         at least 0"
                "  (0.9, 0.999)  in [0, 1); in [0, 1)"
                "exp_avg, for each element"
                "v1 = fma(1 - beta1, grad - exp_avg, exp_avg)"
                "v2 = fma((1 - beta2) * grad, grad, beta2 * exp_avg_sq)"
                "param = param * (1 - lr * weight_decay) - lr / (1 - beta1^t) * v1 / fma(sqrt(v2), 1 / sqrt(1 - beta2^t), eps)"
                @"\theta &\leftarrow \theta \, (1 - \gamma \, \lambda) - "
                "28 bytes for each element; reads param, grad, exp_avg, exp_avg_sq; writes param, exp_avg, exp_avg_sq"
            ]

        // Options choose the formula.
        let plain = explained [ "adamw" ]
        Expect.isFalse (plain.Contains "max_exp_avg_sq") "no amsgrad"

        has
            (explained [ "adam:amsgrad=True,weight_decay=0.1,maximize=True" ])
            [
                "max_exp_avg_sq"
                "v1 = fma(weight_decay, param, -grad)"
                "max(max_exp_avg_sq, "
            ]
    }

let private catalogueTests =
    test "a rule of the catalogue: what it does, the paper, where packages have it, and its memory" {
        has
            (explained [ "lion" ])
            [
                "Lion\n  The sign"
                "Chen et al. 2023, arXiv:2302.06675"
                "published as pytorch_optimizer.Lion"
                "exp_avg, for each element"
                "in all 4 bytes for each element of a float32 parameter"
                "sign("
            ]

        has (explained [ "schedule-free-adamw" ]) [ "ScheduleFreeAdamW" ]
        has (explained [ "timm.cadamw" ]) [ "caution"; "True" ]
        has (explained [ "soap" ]) [ "SOAP"; "works on whole tensors" ]
    }

let private otherTests =
    test "numbers that are kept, rules of whole tensors, rules of an assembly, and what is refused" {
        has
            (explained [ "NAdam" ])
            [
                "mu_product, one number for each parameter"
                "v2 = mu_product * v1"
                "mu_product = v2"
            ]

        has (explained [ "radam" ]) [ "beta2^t" ]

        has
            (explained
                [
                    "chain(clip_by_global_norm(1), scale_by_adam, where('*.weight', add_decayed_weights(0.1)), scale(-1e-3))"
                ])
            [
                "chain(clip_by_global_norm, scale_by_adam, add_decayed_weights, scale)"
                "scale_by_adam.beta1"
                "scale_by_adam.exp_avg_sq, for each element"
                "sum_of_squares_over_all(grad)"
                "Parameters are told apart"
                "visit 1: 4 bytes for each element; reads grad; writes nothing"
                "visit 2: 28 bytes for each element"
            ]

        has
            (explained [ "lookahead(3, alpha=0.25, adamw)" ])
            [
                "lookahead(AdamW)"
                "lookahead.alpha  0.25"
                "lookahead.slow, for each element"
            ]

        has (explained [ "muon" ]) [ "This rule works on whole tensors" ]

        has
            (explained [ "SGD:momentum=0.9" ])
            [
                "v1 = fma(momentum, momentum_buffer, (1 - dampening) * grad)"
                "momentum_buffer = v1"
            ]

        let samples = Path.Combine(System.AppContext.BaseDirectory, "OwnRuleFSharp.dll")

        has
            (explained [ "lion"; "--assembly"; samples ])
            [
                "param = param * (1 - lr * weight_decay) - lr * sign(beta1 * exp_avg + (1 - beta1) * grad)"
                "exp_avg = beta2 * exp_avg + (1 - beta2) * grad"
                "20 bytes for each element"
            ]

        refused [ "explain"; "adamm" ] [ "optimizer 'adamm' is not known"; "did you mean 'Adam'" ]
        refused [ "explain"; "adam:rate=1" ] [ "Adam has no option 'rate'" ]
        refused [ "explain"; "adam"; "--assembly"; "/nowhere/rules.dll" ] [ "/nowhere/rules.dll" ]
        refused [ "explain"; "adam"; "--assembly"; samples ] [ "there is no rule 'adam'" ]
    }

/// The recording is the formula: the same bits as the rule's own steps.
let private sameTests =
    test "what is explained is what is computed: recorded with its numbers, every rule gives the bits of its steps" {
        for rule, options in KernelRuns.combinations do
            let program = (Explanation.program rule options).Value
            let s = KernelRuns.scenario rule options DType.Float32 7 37
            let expected = KernelRuns.run rule s

            let arrays =
                Array.init program.Arrays.Length (fun i ->
                    if i = 0 then
                        Tensor.ofFloats DType.Float32 s.Start[0]
                    elif i = 1 then
                        Tensor.ofFloats DType.Float32 s.Start[0]
                    else
                        let view = TensorView.Zeros(DType.Float32, System.ReadOnlySpan [| 37L |])
                        view.Fill((rule.Start<Real>(options, i - 2, RealReader.Instance)).Value)
                        view)

            let mutable kept = rule.StartScalars<Real>(options, RealReader.Instance)
            let run = ProgramRun program

            // Where first steps have other numbers, no rectification yet or no average, the recording tells of later ones.
            if not (List.contains rule.Name [ "RAdam"; "SGD"; "ASGD" ]) then
                for step in 1 .. s.History.Length do
                    Tensor.fill arrays[1] (Row.only s.History[step - 1])
                    let table = SliceTable()
                    table.Reset(1, arrays.Length - 2)
                    table.Add(37n, arrays[0].Address, arrays[1].Address)

                    for column in 2 .. arrays.Length - 1 do
                        table.SetColumn(column - 2, arrays[column].Address)

                    let leaves =
                        run.Leaves
                        |> Array.map (fun leaf ->
                            match leaf.Operation with
                            | Operation.StepCount -> float step
                            | Operation.Kept when leaf.Name = rule.ScalarNames[0] -> kept.First.Value
                            | Operation.Kept -> kept.Second.Value
                            | _ ->
                                let number = rule.Numbers options |> Seq.tryFind (fun n -> n.Name = leaf.Name)

                                match number with
                                | Some number ->
                                    match rule.Read(options, number.Option), number.Part with
                                    | OptionValue.Tuple parts, part -> OptionValue.op_Explicit parts[part]
                                    | value, _ -> OptionValue.op_Explicit value
                                | None -> OptionValue.op_Explicit (rule.Read(options, leaf.Name)): float)

                    run.Run(System.ReadOnlySpan [| ProgramSegment(table, 0, 1, DType.Float32, leaves) |], Executor.Caller)
                    |> ignore

                    if program.Kept.Length > 0 then
                        let next = Array.zeroCreate 2
                        run.Kept(leaves, System.Span(next, 0, program.Kept.Length))
                        kept <- Scalars<Real>(Real next[0], Real next[1])

                Comparator.arrays Comparator.bit DType.Float32 expected.Theta[0] (arrays[0].ToDoubles())
                |> KernelRuns.holds rule.Name
    }

[<Tests>]
let tests = testSequenced <| testList "explain" [ adamTests; otherTests; sameTests ]
