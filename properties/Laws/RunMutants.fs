/// Defects of how steps are run, saved and surrounded, each beside the law that finds it.
module RunMutants

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

/// Law, defect, and who has it.
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
        kills Onlookers.identity "options that are set are rounded to float32" (roundsOptions (subject "Adam"))
        kills
            Accumulation.accumulated
            "decay and step count advance with each batch"
            (subject "AdamW" |> attaches (fun what -> { what with Accumulate = 1 }))
        kills Accumulation.savedWindow "what was added up is not saved" (savesNoWindow (subject "Adam"))
        kills
            SparseSurroundings.together
            "gradients are not clipped"
            (subject "SparseAdam" |> attaches (fun what -> { what with Clip = None }))
        kills SparseSurroundings.asDense "the norm is that of rows, and not of their sums" (clipsRows (subject "SGD"))
        kills
            SparseSurroundings.accumulated
            "each batch is a step"
            (subject "Adagrad" |> attaches (fun what -> { what with Accumulate = 1 }))
        kills NarrowState.neverWild "the nearest number of the packages' map" (subject "Adam" |> keepsStateAsPackages false)
        kills NarrowState.neverWild "the nearest number of the packages' map, of roots" (subject "Adam" |> keepsStateAsPackages true)
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
