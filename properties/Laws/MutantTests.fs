/// Each law can fail: beside it stands a defect that it finds.
module MutantTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Laws.Mutant
open MutantFormulas
open Mutants
open ShellMutants
open Plain

type Mutant =
    {
        Law: Statement
        Defect: string
        Subject: Subject
    }

let kills (law: Statement) (defect: string) (subject: Subject) =
    {
        Law = law
        Defect = defect
        Subject = subject
    }

/// A rule of one's own that goes by signs.
let lion = Subject.ofRule OwnRuleFSharp.Lion.rule

let private number = Options.ofNumber
let private forever = 1_000_000_000L

/// No bias correction, as an optimizer of another framework has it by default.
let uncorrected name =
    adam name (fun (lr, b1, b2, eps, decay, _) -> lr, b1, b2, eps, decay, forever)

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

/// Decay of a step that has no part in lr.
let shrinksAnyway (subject: Subject) =
    subject
    |> after (fun options parameters gradients _ ->
        for view in stepped parameters gradients do
            let keep = 1.0 - Options.number subject.Rule "weight_decay" options
            Tensor.fill view (view.ToDoubles() |> Array.map (fun x -> keep * x)))

let private defaultForZero =
    withOptions (fun rule options ->
        if Options.number rule "lr" options = 0.0 then
            Options.set [ "lr", rule.Read(rule.Defaults, "lr") ] rule options
        else
            options)

let private flag rule name options = Options.flag rule name options

/// The table: law, defect, and who has it.
let table: Mutant list =
    [
        kills Surroundings.together' "gradients are not clipped" (subject "Adam" |> attaches (fun what -> { what with Clip = None }))
        kills
            Surroundings.together'
            "gradients are left as they are"
            (subject "SGD" |> attaches (fun what -> { what with ZeroGrad = false }))
        kills Surroundings.together' "the average stands still" (subject "RMSprop" |> attaches (fun what -> { what with Average = None }))
        kills
            Surroundings.skipped
            "a gradient that is not finite is stepped by"
            (subject "AdamW"
             |> attaches (fun what -> { what with Clip = None; Scaler = None }))
        kills Surroundings.identity "options that are set are rounded to float32" (roundsOptions (subject "Adam"))
        kills
            Surroundings.accumulated
            "decay and step count advance with each batch"
            (subject "AdamW" |> attaches (fun what -> { what with Accumulate = 1 }))
        kills Surroundings.savedWindow "what was added up is not saved" (savesNoWindow (subject "Adam"))
        kills
            SparseSurroundings.together
            "gradients are not clipped"
            (subject "SparseAdam" |> attaches (fun what -> { what with Clip = None }))
        kills SparseSurroundings.asDense "the norm is that of rows, and not of their sums" (clipsRows (subject "SGD"))
        kills
            SparseSurroundings.accumulated
            "each batch is a step"
            (subject "Adagrad" |> attaches (fun what -> { what with Accumulate = 1 }))
        kills Equivariance.permutation "the tail is stepped in another way" (tailDiffers (subject "Adam"))
        kills Equivariance.splitting "the tail is stepped in another way" (tailDiffers (subject "SGD"))
        kills Equivariance.strides "a gradient is read in the order of memory" (readsMemoryOrder (subject "Adam"))
        kills Equivariance.sign "a small number is added to every step" (sgdBy<Lopsided>())
        kills Equivariance.maximize "decay is added before the gradient is negated" (sgdBy<DecayFirst>())
        kills Equivariance.missingGradient "a missing gradient is taken for zero" (noneIsZero (subject "Adam"))
        kills
            Equivariance.nanStays
            "gradients are divided by their norm"
            (subject "Adam"
             |> withGradients (fun _ values ->
                 let norm = values |> Array.sumBy (fun g -> g * g) |> sqrt

                 values
                 |> Array.map (fun g ->
                     if norm > 1.0 then g / norm
                     elif Double.IsNaN norm then nan
                     else g)))
        kills
            Equivariance.nanIsSwallowed
            "NaN counts as negative"
            (subject "Rprop"
             |> withGradients (fun _ -> Array.map (fun g -> if Double.IsNaN g then -1.0 else g)))
        kills Equivariance.emptyAndSingle "nothing is stepped after an empty parameter" (stopsAtEmpty (subject "RMSprop"))
        kills Equivariance.complex "both parts are divided by the magnitude" (byMagnitude (subject "Adagrad"))

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
            Universal.continuous
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
        kills Analytic.adamBound "no bias correction" (uncorrected "Adam")
        kills Analytic.adamaxBound "the norm forgets" (columnBecomes "exp_inf" 0.0 (subject "Adamax"))
        kills Analytic.adagradSums "the sums are averages" (columnBecomes "sum" 1e-3 (subject "Adagrad"))
        kills
            Analytic.rmspropBound
            "alpha is read twice"
            (subject "RMSprop"
             |> withOptions (fun rule options ->
                 let alpha = Options.number rule "alpha" options
                 Options.set [ "alpha", number (alpha * alpha) ] rule options))
        kills Analytic.amsgrad "the maximum is not written back" (columnBecomes "max_exp_avg_sq" 0.0 (subject "Adam"))
        kills Analytic.rpropSigns "step sizes have no limits" (subject "Rprop" |> withOption "step_sizes" (Options.ofPair (0.0, 1e9)))
        kills Analytic.lionSigns "the step grows with the gradient" (stepsByGradient lion)
        kills Analytic.asgdAverage "the average begins at once" (subject "ASGD" |> withOption "t0" (number -1.0))
        kills Analytic.nadamProduct "mu_product begins at 0" (nadam 0.0 (fun _ product -> product))
        kills Analytic.nadamProduct "the product that is ahead has a factor too many" (nadam 1.0 (fun _ product -> 0.99 * product))
        kills Analytic.radamRectifies "rectification comes a step late" (radam (fun step -> max 1L (step - 1L)))
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
            Equivalence.traversals
            "eps is ignored in foreach"
            (subject "Adam"
             |> withOptions (fun rule options ->
                 if rule.Read(options, "foreach").Equals(Options.ofFlag true) then
                     Options.set [ "eps", number 1e-2 ] rule options
                 else
                     options))
        kills Equivalence.pure' "the pure step moves what it was given" (impure (subject "SGD"))
        kills
            Equivalence.widths
            "256 bits are rounded in another way"
            (subject "Adam"
             |> after (fun _ parameters gradients _ ->
                 if Lanes.Width = Width.Bits256 then
                     for view in stepped parameters gradients do
                         nudge view 0))
        kills Equivalence.alignment "what lies before an aligned address is stepped in another way" (alignmentMatters (subject "Rprop"))
        kills
            Equivalence.threads
            "the border between two threads is stepped twice"
            (subject "SGD"
             |> after (fun _ parameters gradients _ ->
                 if Threads.Count > 1 then
                     for view in stepped parameters gradients do
                         nudge view (int view.Count / 2)))
        kills Equivalence.repeat "every third step is rounded in another way" (forgetful (subject "Adam"))
        kills
            Equivalence.allocation
            "a step makes an object for each parameter"
            (subject "Adam"
             |> shell (fun real ->
                 { real with
                     Step =
                         fun optimizer ->
                             for group in optimizer.ParamGroups do
                                 for _ in group.Parameters do
                                     GC.KeepAlive(Array.zeroCreate<byte> 64)

                             real.Step optimizer
                 }))

        kills Guards.zeroGradient "eps is lost, as where it is too small for the dtype" (subject "Adam" |> withOption "eps" (number 0.0))
        kills Guards.zeroIsNotNone "a gradient of zero is taken for none" (zeroIsNone (subject "SGD"))
        kills Guards.illegalOptions "a loaded dict is not checked" (loadsAnything (subject "RMSprop"))
        kills
            Guards.lostEps
            "eps is not looked at in the dtype of the arithmetic"
            (Subject.ofRule (
                Rule.elementWise<AdamOptions, AdamFormula>
                    "Adam"
                    Adam.defaults
                    (Adam.options |> List.map (fun field -> { field with divisor = fun _ -> 0.0 }))
                    Adam.columns
                    Adam.arithmetic
            ))
        kills
            Guards.overflow
            "the gradient is squared in the numerator, too"
            (subject "RMSprop" |> withGradients (fun _ -> Array.map (fun g -> g * abs g)))

        kills Partition.groups "groups after the first are at the defaults" (laterGroupsForget (subject "Adam"))
        kills Partition.separate "a missing gradient is taken for zero" (noneIsZero (subject "SGD"))
        kills Partition.sensitivity "weight_decay is read and forgotten" (subject "AdamW" |> withOption "weight_decay" (number 1e-2))
        kills
            Partition.ownOptions
            "a later edit of a group is forgotten"
            (subject "Rprop"
             |> shell (fun real ->
                 { real with
                     SetOption = fun _ _ _ -> ()
                 }))
        kills Partition.later "a group that comes later is at the defaults" (laterGroupsForget (subject "RMSprop"))
        kills Partition.twice "a parameter that is there already is left out in silence" (dropsDoubles (subject "SGD"))

        kills
            Hooks.order
            "global hooks run after local ones"
            (subject "Adam"
             |> shell (fun real ->
                 { real with
                     Register =
                         function
                         | Hook.EveryPre -> real.Register Hook.Pre
                         | other -> real.Register other
                 }))
        kills
            Hooks.closure
            "the closure is called twice"
            (subject "SGD"
             |> shell (fun real ->
                 { real with
                     StepWith =
                         fun optimizer closure ->
                             closure () |> ignore
                             real.StepWith optimizer closure
                 }))

        kills Resume.noAliasing "a loaded dict is read when it is needed" (lazyLoad (subject "Adam"))
        kills Resume.roundTrip "loading takes the options only" (loadsOptionsOnly (subject "Adam"))
        kills Resume.resume "the last column is not saved" (savesLess (subject "Adam"))
        kills Resume.byName "state is matched by order, whatever the names" (loadsByOrder (subject "Adam"))
        kills Resume.clone "a clone is the dict itself" (subject "Adam" |> shell (fun real -> { real with Clone = id }))
        kills Resume.savingChangesNothing "saving halves the state" (savingWrites (subject "RMSprop"))
        kills PyTorchDicts.pytorch "the last column is not saved" (savesLess (subject "Rprop"))
        kills
            PyTorchDicts.older
            "what a dict lacks stays as it was"
            (subject "RMSprop"
             |> shell (fun real ->
                 { real with
                     Load =
                         fun optimizer saved ->
                             let filled = real.Clone saved

                             for group, entry in Seq.zip optimizer.ParamGroups filled.ParamGroups do
                                 for name in group.OptionNames do
                                     if name <> "fused" && not (entry.ContainsKey name) then
                                         entry[name] <- group[name]

                             real.Load optimizer filled
                 }))

        kills
            WholeTensors.settings
            "sums depend on the width of registers"
            (subject "Adafactor"
             |> withGradients (fun _ -> Array.map (fun g -> if Lanes.Width = Width.Bits128 then g * 1.001 else g)))
        kills WholeTensors.strides "a gradient is read in the order of memory" (readsMemoryOrder (subject "Muon"))
        kills WholeTensors.company "a missing gradient is taken for zero" (noneIsZero (subject "Adafactor"))
        kills WholeTensors.resume "the last column is not saved" (savesLess (subject "Muon"))
        kills
            WholeTensors.adafactorTransposed
            "the first elements count twice"
            (subject "Adafactor"
             |> withGradients (fun _ -> Array.mapi (fun i g -> if i < 2 then 2.0 * g else g)))
        kills WholeTensors.adafactorRankOne "the rate is another one" (subject "Adafactor" |> withOption "lr" (number 0.5))
        kills WholeTensors.muon "the sign of gradients is lost" (subject "Muon" |> withGradients (fun _ -> Array.map abs))
        kills WholeTensors.muon "the norm is lost" (subject "Muon" |> withOption "eps" (number 1e3))

        kills Machine.statement "the moments are lost on load" (loadsOptionsOnly (subject "Adam"))
        kills
            Machine.statement
            "zero_grad always drops the gradients"
            (subject "SGD"
             |> shell (fun real ->
                 { real with
                     ZeroGrad = fun optimizer _ -> real.ZeroGrad optimizer true
                 }))
    ]

/// Enough for each law to find its defect; always the same ones.
let private cases, seed = 300, 20261123UL

let toTest (mutant: Mutant) =
    let name =
        sprintf "\"%s\" (%s) finds: %s" mutant.Law.Says mutant.Law.Id mutant.Defect

    let run =
        testCase name (fun () ->
            let trial = mutant.Law.Try mutant.Subject cases seed
            Cases.add "mutants" 1
            Expect.isNotEmpty trial.Broken "the law held"
            // Found by what came out, and not because the defect stumbled.
            let why = Array.head (trial.Broken.Split '\n')
            Expect.isFalse (why.Contains "Exception: ") trial.Broken)

    if mutant.Law.Alone then testSequenced run else run

let private complete =
    test "every law has a mutant" {
        // Those of schedulers have theirs in ScheduleMutants.fs.
        let others =
            Laws.all
            |> List.filter (fun law -> Schedules.all |> List.forall (fun other -> other.Id <> law.Id))

        for law in
            others
            @ Sparsity.all
            @ SparseSurroundings.all
            @ WholeTensors.all
            @ Convergence.all
            @ Universal.all do
            let has = table |> List.exists (fun mutant -> obj.ReferenceEquals(mutant.Law, law))
            Expect.isTrue has (sprintf "%s, %s" law.Id law.Says)
    }

[<Tests>]
let tests = testList "mutants" (complete :: List.map toTest table)
