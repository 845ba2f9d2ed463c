/// Defects of what a rule computes, each beside the law that finds it.
module RuleMutants

open System
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Laws.Mutant
open MutantFormulas
open Mutants
open ShellMutants
open Plain
open MutantKit

let private number = Options.ofNumber

let private epsIsFixed = withOption "eps" (number 1e-2)

let private clipped =
    withGradients (fun _ -> Array.map (fun g -> Math.Clamp(g, -1.0, 1.0)))

let private rateTwice =
    subject "SGD"
    |> withOptions (fun rule options ->
        let lr = Options.number rule "lr" options
        Options.set [ "lr", number (lr * lr) ] rule options)

/// Decay that forgets lr: 1 - lr (decay / lr).
let private decayWithoutRate =
    adam "AdamW" (fun (lr, b1, b2, eps, decay, step) -> lr, b1, b2, eps, (if lr = 0.0 then 0.0 else decay / lr), step)

let private defaultForZero =
    withOptions (fun rule options ->
        if Options.number rule "lr" options = 0.0 then
            Options.set [ "lr", rule.Read(rule.Defaults, "lr") ] rule options
        else
            options)

let private flag rule name options = Options.flag rule name options

/// Law, defect, and who has it.
let table: Mutant list =
    [
        kills
            Sparsity.untouched
            "the first row always moves"
            (subject "SparseAdam" |> after (fun _ parameters _ _ -> nudge parameters[0] 0))
        kills
            Sparsity.zerosWrittenOut
            "the last row is forgotten"
            (subject "SGD" |> withRows (fun rows -> List.truncate (rows.Length - 1) rows))
        kills Sparsity.coalesced "of repeated rows the last one counts" (lastRowWins (subject "SGD"))
        kills Sparsity.pureSteps "the pure step moves the parameters that it was given" (impure (subject "SparseAdam"))
        kills Sparsity.likeAdam "eps is ignored" (epsIsFixed (subject "SparseAdam"))

        kills Universal.descends "Adam climbs" (subject "Adam" |> withGradients (fun _ -> Array.map (~-)))
        kills Universal.descends "Rprop loses the sign of gradients" (subject "Rprop" |> withGradients (fun _ -> Array.map abs))
        kills Universal.finite "momentum grows" (subject "SGD" |> withOption "momentum" (number 2.0))
        kills Universal.finite "eps is lost" (subject "Adam" |> withOption "eps" (number 0.0))
        kills Universal.againstSign "Adagrad climbs" (subject "Adagrad" |> withGradients (fun _ -> Array.map (~-)))
        kills
            Universal.againstSign
            "SparseAdam loses the sign of gradients"
            (subject "SparseAdam" |> withGradients (fun _ -> Array.map abs))
        kills Universal.standsStill "decay is not multiplied by lr" (shrinksAnyway (subject "AdamW"))
        kills Universal.standsStill "the default is taken for a rate of 0" (defaultForZero (subject "Muon"))
        kills
            Continuity.continuous
            "a small weight_decay is taken for none"
            (subject "SGD"
             |> withOptions (fun rule options ->
                 if Options.number rule "weight_decay" options < 0.03 then
                     Options.set [ "weight_decay", number 0.0 ] rule options
                 else
                     options))
        kills Universal.bounded "no bias correction" (uncorrected "Adam")
        kills Universal.bounded "step sizes have no limits" (subject "Rprop" |> withOption "step_sizes" (Options.ofPair (0.0, 1e9)))
        kills Universal.evenSteps "no bias correction" (uncorrected "AdamW")
        kills
            Universal.evenSteps
            "the bias correction is a step behind"
            (adam "Adam" (fun (lr, b1, b2, eps, decay, step) -> lr, b1, b2, eps, decay, step + 1L))

        kills Analytic.adamFirst "no bias correction" (uncorrected "Adam")
        kills
            Analytic.adamFirst
            "the bias correction is a step behind"
            (adam "AdamW" (fun (lr, b1, b2, eps, decay, step) -> lr, b1, b2, eps, decay, step + 1L))
        kills
            Analytic.adamFirst
            "eps is added inside of the root"
            (adam "Adam" (fun (lr, b1, b2, eps, decay, step) -> lr, b1, b2, sqrt eps, decay, step))
        kills Analytic.adamConstant "no bias correction" (uncorrected "AdamW")
        kills Analytic.momentumConstant "the first momentum is counted twice" firstTwice
        kills Bounds.adamBound "no bias correction" (uncorrected "Adam")
        kills Bounds.adamaxBound "the norm forgets" (columnBecomes "exp_inf" 0.0 (subject "Adamax"))
        kills Bounds.adagradSums "the sums are averages" (columnBecomes "sum" 1e-3 (subject "Adagrad"))
        kills
            Bounds.rmspropBound
            "alpha is read twice"
            (subject "RMSprop"
             |> withOptions (fun rule options ->
                 let alpha = Options.number rule "alpha" options
                 Options.set [ "alpha", number (alpha * alpha) ] rule options))
        kills Analytic.amsgrad "the maximum is not written back" (columnBecomes "max_exp_avg_sq" 0.0 (subject "Adam"))
        kills Analytic.rpropSigns "step sizes have no limits" (subject "Rprop" |> withOption "step_sizes" (Options.ofPair (0.0, 1e9)))
        kills Analytic.lionSigns "the step grows with the gradient" (stepsByGradient lion)
        kills Sequences.asgdAverage "the average begins at once" (subject "ASGD" |> withOption "t0" (number -1.0))
        kills Sequences.nadamProduct "mu_product begins at 0" (nadam 0.0 (fun _ product -> product))
        kills Sequences.nadamProduct "the product that is ahead has a factor too many" (nadam 1.0 (fun _ product -> 0.99 * product))
        kills Sequences.radamRectifies "rectification comes a step late" (radam (fun step -> max 1L (step - 1L)))
        kills
            Moments.first
            "the two coefficients are swapped"
            (adam "Adam" (fun (lr, b1, b2, eps, decay, step) -> lr, 1.0 - b1, b2, eps, decay, step))
        kills
            Moments.second
            "the two coefficients are swapped"
            (adam "AdamW" (fun (lr, b1, b2, eps, decay, step) -> lr, b1, 1.0 - b2, eps, decay, step))
        kills Analytic.quadratic "lr is applied twice" rateTwice

        kills Convergence.descent "lr is applied twice" rateTwice
        kills Convergence.contraction "gradients are clipped at 1" (clipped (subject "SGD"))
        kills Convergence.heavyBall "the momentum is forgotten" (subject "SGD" |> withOption "momentum" (number 0.0))
        for rule in [ "Adafactor"; "Adam"; "SparseAdam" ] do
            kills Convergence.tenth $"{rule} goes uphill" (subject rule |> withOption "maximize" (Options.ofFlag true))
        for rule in [ "Muon"; "Rprop" ] do
            kills Convergence.tenth $"{rule} loses the sign of gradients" (subject rule |> withGradients (fun _ -> Array.map abs))

        kills Invariance.gradientScale "eps is ignored" (epsIsFixed (subject "Adam"))
        kills Invariance.anyGradientScale "eps is ignored" (epsIsFixed (subject "RMSprop"))
        kills Invariance.rpropScale "the step grows with the gradient" (stepsByGradient (subject "Rprop"))
        kills
            Invariance.translation
            "a weight_decay of 0 is taken for the default"
            (subject "Adam" |> withOption "weight_decay" (number 1e-2))
        kills Invariance.homogeneous "gradients are clipped at 1" (clipped (subject "SGD"))
        kills
            Invariance.rate
            "lr goes into the moments"
            (subject "RMSprop"
             |> withGradients (fun options -> Array.map (fun g -> Options.number RMSprop.rule "lr" options * g)))
        kills Invariance.lossScale "gradients are clipped at 1" (clipped (subject "SGD"))

        kills Decay.none "weight_decay is ignored, and the default taken" (subject "AdamW" |> withOption "weight_decay" (number 1e-2))
        kills Decay.shrinkFirst "decay is not multiplied by lr" decayWithoutRate
        kills Decay.alone "decay is not multiplied by lr" decayWithoutRate
        kills Decay.coupled "L2 decay is done in the decoupled way" (shrinksForL2 (subject "Adam"))
        kills
            Decay.moments
            "the flag for decoupled decay is ignored"
            (subject "Adam" |> withOption "decoupled_weight_decay" (Options.ofFlag false))

        kills
            Reductions.dampening
            "gradients are dampened without momentum"
            (subject "SGD"
             |> withGradients (fun options -> Array.map (fun g -> (1.0 - Options.number SGD.rule "dampening" options) * g)))
        kills Reductions.nesterov "the flag for Nesterov is ignored" (subject "SGD" |> withOption "nesterov" (Options.ofFlag false))
        kills Reductions.adamIsRMSprop "no bias correction" (uncorrected "Adam")
        kills Reductions.adamIsSign "eps is ignored" (epsIsFixed (subject "Adam"))
        kills
            Reductions.centeredAtZero
            "eps is ignored when centered"
            (subject "RMSprop"
             |> withOptions (fun rule options ->
                 if flag rule "centered" options then
                     Options.set [ "eps", number 1e-2 ] rule options
                 else
                     options))

        kills
            Reductions.adagradSchedule
            "the first step counts as a step before"
            (subject "Adagrad"
             |> withOptions (fun rule options ->
                 let lr, decay =
                     Options.number rule "lr" options, Options.number rule "lr_decay" options

                 Options.set [ "lr", number (lr / (1.0 + decay)) ] rule options))

        kills
            WholeTensors.settings
            "sums depend on the width of registers"
            (subject "Adafactor"
             |> withGradients (fun _ -> Array.map (fun g -> if Lanes.Width = Width.Bits128 then g * 1.001 else g)))
        kills WholeTensors.strides "a gradient is read in the order of memory" (readsMemoryOrder (subject "Muon"))
        kills WholeTensors.company "a missing gradient is taken for zero" (noneIsZero (subject "Adafactor"))
        kills WholeTensors.resume "the last column is not saved" (savesLess (subject "Muon"))
        kills
            Matrices.adafactorTransposed
            "the first elements count twice"
            (subject "Adafactor"
             |> withGradients (fun _ -> Array.mapi (fun i g -> if i < 2 then 2.0 * g else g)))
        kills Matrices.adafactorRankOne "the rate is another one" (subject "Adafactor" |> withOption "lr" (number 0.5))
        kills Matrices.muon "the sign of gradients is lost" (subject "Muon" |> withGradients (fun _ -> Array.map abs))
        kills Matrices.muon "the norm is lost" (subject "Muon" |> withOption "eps" (number 1e3))
    ]
