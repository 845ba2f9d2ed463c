/// Defects of the optimizer classes around a rule.
module ShellMutants

open System.Collections.Generic
open System.Runtime.CompilerServices
open Optim
open Optim.Core
open Optim.Laws

/// With the shell changed.
let shell (change: Shell -> Shell) (subject: Subject) =
    { subject with
        Shell = change subject.Shell
    }

/// Loading keeps the dict, and reads it at the next step.
let lazyLoad: Subject -> Subject =
    shell (fun real ->
        let pending = ConditionalWeakTable<Optimizer, StateDict>()

        let settle (optimizer: Optimizer) =
            match pending.TryGetValue optimizer with
            | true, saved ->
                pending.Remove optimizer |> ignore
                real.Load optimizer saved
            | _ -> ()

        { real with
            Load =
                fun optimizer saved ->
                    pending.Remove optimizer |> ignore
                    pending.Add(optimizer, saved)
            Step =
                fun optimizer ->
                    settle optimizer
                    real.Step optimizer
            Save =
                fun optimizer ->
                    settle optimizer
                    real.Save optimizer
        })

/// A state dict without its last column.
let savesLess: Subject -> Subject =
    shell (fun real ->
        { real with
            Save =
                fun optimizer ->
                    let saved = real.Clone(real.Save optimizer)

                    for state in saved.State.Values do
                        if state.Count > 0 then
                            state.RemoveAt(state.Count - 1)

                    saved
        })

/// Loads the options, and drops the state.
let loadsOptionsOnly: Subject -> Subject =
    shell (fun real ->
        { real with
            Load =
                fun optimizer saved ->
                    let empty = real.Clone saved
                    empty.State.Clear()
                    real.Load optimizer empty
        })

/// Loads the state, and drops the options.
let loadsStateOnly: Subject -> Subject =
    shell (fun real ->
        { real with
            Load =
                fun optimizer saved ->
                    let own = real.Clone saved

                    for group, entry in Seq.zip optimizer.ParamGroups own.ParamGroups do
                        for name in group.OptionNames do
                            if entry.ContainsKey name then
                                entry[name] <- group[name]

                    real.Load optimizer own
        })

/// Matches by order, whatever the names.
let loadsByOrder: Subject -> Subject =
    shell (fun real ->
        { real with
            Load = fun optimizer saved -> optimizer.LoadStateDict(saved, true, MatchBy.Order) |> ignore
        })

/// Saving divides the state by two.
let savingWrites: Subject -> Subject =
    shell (fun real ->
        { real with
            Save =
                fun optimizer ->
                    let saved = real.Save optimizer

                    for state in saved.State.Values do
                        for key in state.Keys do
                            if key <> "step" then
                                Tensor.fill (state[key].AsTensor()) (state[key].ToDoubles() |> Array.map (fun x -> x / 2.0))

                    saved
        })

/// Groups after the first are at the defaults.
let laterGroupsForget: Subject -> Subject =
    shell (fun real ->
        { real with
            Open =
                fun rule options groups ->
                    let bare (group: ParameterGroup) = ParameterGroup group.Parameters
                    real.Open rule options (List.head groups :: List.map bare (List.tail groups))
            AddGroup = fun optimizer group -> real.AddGroup optimizer (ParameterGroup group.Parameters)
        })

/// A parameter that is there already is left out in silence.
let dropsDoubles: Subject -> Subject =
    shell (fun real ->
        let without (seen: HashSet<obj>) (group: ParameterGroup) =
            ParameterGroup(
                group.Parameters
                |> Seq.filter (fun parameter -> seen.Add parameter.Identity)
                |> Seq.toArray
            )

        { real with
            Open =
                fun rule options groups ->
                    let seen = HashSet<obj>()
                    real.Open rule options (List.map (without seen) groups)
            AddGroup =
                fun optimizer group ->
                    let known =
                        optimizer.ParamGroups
                        |> Seq.collect (fun group -> group.Parameters |> Seq.map _.Identity)

                    real.AddGroup optimizer (without (HashSet<obj> known) group)
        })

/// Wrong options of a loaded dict are passed over in silence.
let loadsAnything: Subject -> Subject =
    shell (fun real ->
        { real with
            Load =
                fun optimizer saved ->
                    try
                        real.Load optimizer saved
                    with :? OptionException ->
                        ()
        })

/// What is attached is changed on the way.
let attaches (change: Attached -> Attached) : Subject -> Subject =
    shell (fun real ->
        { real with
            Attach = fun optimizer what -> real.Attach optimizer (change what)
        })

/// Numbers that are set as options are rounded to float32.
let roundsOptions: Subject -> Subject =
    shell (fun real ->
        { real with
            SetOption =
                fun group name value ->
                    match value with
                    | OptionValue.Float x -> real.SetOption group name (OptionValue.Float(float (float32 x)))
                    | other -> real.SetOption group name other
        })

/// What was added up is not in the state dict.
let savesNoWindow: Subject -> Subject =
    shell (fun real ->
        { real with
            Save =
                fun optimizer ->
                    let saved = real.Save optimizer
                    saved.Accumulation <- Tree.None
                    saved
        })

/// Clipping by norm looks at the rows of a sparse gradient as they come, although some of them repeat.
let clipsRows: Subject -> Subject =
    shell (fun real ->
        let clips = ConditionalWeakTable<Optimizer, ClipGradNorm>()

        let clip (optimizer: Optimizer) =
            match clips.TryGetValue optimizer with
            | true, clip ->
                for p in optimizer.ParamGroups |> Seq.collect _.Parameters |> Seq.cast<Param> do
                    let values = p.GradientView.ToDoubles()
                    let norm = sqrt (Array.sumBy (fun x -> x * x) values)
                    Tensor.fill p.GradientView (values |> Array.map (fun x -> x * Clipping.coefficient clip.MaxNorm norm))
            | _ -> ()

        { real with
            Attach =
                fun optimizer what ->
                    match what.Clip with
                    | Some(:? ClipGradNorm as norm) when what.Scaler.IsNone && norm.NormType = 2.0 ->
                        clips.Add(optimizer, norm)
                        real.Attach optimizer { what with Clip = None }
                    | _ -> real.Attach optimizer what
            Step =
                fun optimizer ->
                    clip optimizer
                    real.Step optimizer
        })
