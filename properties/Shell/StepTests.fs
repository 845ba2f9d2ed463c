/// Steps with what surrounds them, as functions of immutable records: the bits of the same functions one after the other.
module StepTests

open System
open Expecto
open Optim.Core
open Optim.Core.Step
open Optim.Kernels
open Kit
open StepKit

/// The same by hand: each function for itself.
let private byHand (rule: Rule<'o>) options parameters gradients state scaling averages =
    let gradients = Clipping.copy gradients
    Clipping.scale (LossScaling.inverse scaling) gradients Executor.Caller
    let total = Clipping.byNorm maxNorm 2.0 gradients
    Clipping.byValue limit gradients
    let state = Rule.step rule options parameters gradients state

    total, state, LossScaling.update false scaling, List.map2 (fun averaging a -> Average.update averaging parameters a) averagings averages

let private sameAsByHand name (rule: Rule<'o>) (options: 'o) lay dtype =
    let what = $"{name}, {lay}, {dtype}"
    let mine, gradients = made lay dtype
    let theirs = mine.Copy()
    let alone = mine.Copy()

    let mutable state, handState, aloneState =
        Rule.init rule options mine, Rule.init rule options theirs, Rule.init rule options alone

    let mutable surrounded, averages, handScaling =
        around' scaling (averagesOf mine), averagesOf theirs, scaling

    for step in 1..5 do
        let given = gradients step handScaling.Scale
        let before = Clipping.copy given
        let after = surrounded |> run rule options mine given state

        let total, nextState, nextScaling, nextAverages =
            byHand rule options theirs before handState handScaling averages

        aloneState <- Rule.step rule options alone (gradients step 1.0) aloneState
        Expect.equal after.Kind StepKind.Moved what
        Expect.equal given (gradients step handScaling.Scale) $"{what}: gradients are read, and not written"
        Expect.equal mine theirs $"{what}: parameters after step {step}"
        Expect.equal after.State nextState $"{what}: state after step {step}"
        expectSameBits [| after.Norm; after.LossScale |] [| total; nextScaling.Scale |] $"{what}: norm and scale"

        for mine, theirs in List.zip (List.ofSeq after.Averages) nextAverages do
            Expect.equal mine theirs $"{what}: averages after step {step}"

        state <- after.State
        surrounded <- after.Around
        handState <- nextState
        handScaling <- nextScaling
        averages <- nextAverages

    // Rules that look at signs alone may give the same.
    if name = "SGD" then
        Expect.notEqual mine alone $"{what}: not what a step alone gives"

let private lion =
    Rule.define "LionAround" (fun r ->
        let lr = r.Number("lr", 1e-2, Interval.atLeast 0.0)
        let m = r.Column "exp_avg"
        let direction = Expression.Sign(0.9 * m + 0.1 * r.Gradient)
        r.Set(m, 0.99 * m + 0.01 * r.Gradient)
        r.Parameter - lr * direction)

let private lamb =
    Rule.define "NormAround" (fun r ->
        let lr = r.Number("lr", 1e-2, Interval.atLeast 0.0)

        r.Parameter
        - lr * Expression.Norm r.Parameter / (1.0 + Expression.NormOverAll r.Gradient)
          * r.Gradient)

let private all lay dtype =
    let one name rule options =
        sameAsByHand name rule options lay dtype

    match lay with
    | SparseRows ->
        one "SGD" SGD.rule SGD.defaults

        one
            "SGD momentum"
            SGD.rule
            { SGD.defaults with
                Lr = 0.1
                Momentum = 0.9
            }

        one "Adagrad" Adagrad.rule Adagrad.defaults
        one "definition" lion lion.Defaults
    | _ ->
        one "Adadelta" Adadelta.rule Adadelta.defaults
        one "Adafactor" Adafactor.rule Adafactor.defaults
        one "Adagrad" Adagrad.rule Adagrad.defaults
        one "Adam" Adam.rule { Adam.defaults with Amsgrad = true }
        one "AdamW" AdamW.rule AdamW.defaults
        one "Adamax" Adamax.rule Adamax.defaults
        one "ASGD" ASGD.rule ASGD.defaults
        one "Muon" Muon.rule Muon.defaults
        one "NAdam" NAdam.rule NAdam.defaults
        one "RAdam" RAdam.rule RAdam.defaults

        one
            "RMSprop"
            RMSprop.rule
            { RMSprop.defaults with
                Centered = true
            }

        one "Rprop" Rprop.rule Rprop.defaults
        one "SGD" SGD.rule { SGD.defaults with Momentum = 0.9 }
        one "definition" lion lion.Defaults
        one "definition with norms" lamb lamb.Defaults

let private tests' =
    [
        for lay in [ Contiguous; Strided; SparseRows ] do
            test $"every rule with all that may surround a step has the bits of the functions for themselves: {lay}" {
                for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                    // Laying is for the wide dtypes.
                    if lay <> Strided || dtype <> DType.BFloat16 then
                        all lay dtype
            }

        test "changed numbers make no kernels: factors of clipping and scaling, weights of averages" {
            let parameters, gradients = made Contiguous DType.Float32
            let mutable surrounded = around' scaling (averagesOf parameters)
            let mutable state = adam parameters

            let step index =
                let after =
                    surrounded
                    |> run Adam.rule Adam.defaults parameters (gradients index (scale * float index)) state

                surrounded <- after.Around
                state <- after.State

            // The first copies, and with a warm-up the average moves from the new value for some steps.
            for index in 1..24 do
                step index

            let made = ProgramEngine.Made

            for index in 25..40 do
                step index

            Expect.equal ProgramEngine.Made made "kernels"
        }
    ]

[<Tests>]
let tests = testList "around" [ testList "steps in F#" tests' ]
