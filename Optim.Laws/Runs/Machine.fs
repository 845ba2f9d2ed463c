namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// The whole optimizer against its model.
[<RequireQualifiedAccess>]
module Machine =
    open Model

    /// The optimizer, and what belongs to it.
    type private Real =
        {
            Optimizer: Optimizer
            mutable Parameters: Param list list
            mutable Kept: StateDict list
            mutable Handles: IDisposable list
            Trace: ResizeArray<string>
        }

    let private newParameter number elements =
        Param.Of("p" + string number, Tensor.ofFloats dtype (initial number elements))

    /// Tries a change of an option on the model: None where the rule refuses it.
    let private replaced (rule: Rule) name value (group: Group) =
        try
            Some
                { group with
                    Options = rule.Replace(group.Options, name, value)
                }
        with :? OptionException ->
            None

    let private set (subject: Subject) (real: Real) (model: Model) index name value =
        let i = at index model.Groups

        match replaced subject.Rule name value model.Groups[i] with
        | Some group ->
            subject.Shell.SetOption real.Optimizer.ParamGroups[i] name value

            { model with
                Groups = List.updateAt i group model.Groups
            }
        | None ->
            // Refused by both, and nothing has changed.
            try
                subject.Shell.SetOption real.Optimizer.ParamGroups[i] name value
                raise (LawBroken(sprintf "%s = %O was taken" name value))
            with :? OptionException ->
                model

    let private traversals: (string * OptionValue) list list =
        let on, off, none = Options.ofFlag true, Options.ofFlag false, OptionValue.None

        [
            [ "fused", none; "foreach", none ]
            [ "fused", none; "foreach", off ]
            [ "fused", none; "foreach", on ]
            [ "foreach", none; "fused", on ]
        ]

    let private give (parameter: Param) (value: float voption) =
        match value with
        | ValueNone -> parameter.DropGradient()
        | ValueSome value -> parameter.BindGradient(Tensor.ofFloats dtype (values (int (parameter :> IParameter).Data.Count) value))

    let private gradient (group: Group) value =
        { group with
            Gradients =
                [|
                    value
                    |> ValueOption.map (values (elements group) >> Array.map (Number.round dtype))
                |]
        }

    let private parameter (real: Real) index =
        let all = List.concat real.Parameters
        all[at index all]

    /// Does a command to both; what the model is afterwards.
    let private apply (subject: Subject) (real: Real) (number: int) (model: Model) command =
        let rule, shell = subject.Rule, subject.Shell

        match command with
        | Command.SetGradient(index, value) ->
            give (parameter real index) value
            update index (fun group -> gradient group value) model
        | Command.ZeroGrad toNone ->
            shell.ZeroGrad real.Optimizer toNone

            let zero (group: Group) =
                { group with
                    Gradients =
                        group.Gradients
                        |> Array.map (fun row ->
                            if toNone then
                                ValueNone
                            else
                                ValueOption.map (Array.map (fun _ -> 0.0)) row)
                }

            { model with
                Groups = List.map zero model.Groups
            }
        | Command.Step ->
            shell.Step real.Optimizer
            stepAll rule model
        | Command.StepWith(index, value) ->
            let loss =
                shell.StepWith real.Optimizer (fun () ->
                    give (parameter real index) (ValueSome value)
                    value)

            if loss <> value then
                raise (LawBroken(sprintf "a loss of %f instead of %f" loss value))

            update index (fun group -> gradient group (ValueSome value)) model
            |> stepAll rule
        | Command.SetOption(index, option, value) ->
            let options = settable rule

            if options.IsEmpty then
                model
            else
                let name, edges = options[at option options]
                set subject real model index name edges[at value edges]
        | Command.Traverse(index, way) ->
            traversals[at way traversals]
            |> List.filter (fun (name, _) -> Options.has name rule)
            |> List.fold (fun model (name, value) -> set subject real model index name value) model
        | Command.AddGroup elements ->
            let fresh = newParameter number elements
            shell.AddGroup real.Optimizer (Host.group rule rule.Defaults [ fresh ])
            real.Parameters <- real.Parameters @ [ [ fresh ] ]

            { model with
                Groups = model.Groups @ [ newGroup rule rule.Defaults number elements ]
            }
        | Command.Freeze(index, frozen) ->
            (parameter real index).RequiresGradient <- not frozen
            update index (fun group -> { group with Frozen = [| frozen |] }) model
        | Command.Save ->
            real.Kept <- real.Kept @ [ shell.Clone(shell.Save real.Optimizer) ]

            { model with
                Kept =
                    model.Kept
                    @ [
                        model.Groups |> List.map (fun group -> group.Options, State.copy group.State)
                    ]
            }
        | Command.Load kept ->
            let fits =
                List.zip real.Kept model.Kept
                |> List.filter (fun (_, groups) -> groups.Length = model.Groups.Length)

            if fits.IsEmpty then
                model
            else
                let saved, groups = fits[at kept fits]
                shell.Load real.Optimizer saved

                let load (group: Group) (options, state) =
                    { group with
                        Options = options
                        State = State.copy state
                    }

                { model with
                    Groups = List.map2 load model.Groups groups
                }
        | Command.AddHook hook ->
            let write (whose: Optimizer) =
                if obj.ReferenceEquals(whose, real.Optimizer) then
                    real.Trace.Add(string number)

            real.Handles <- real.Handles @ [ shell.Register hook real.Optimizer write ]

            { model with
                Hooks = model.Hooks @ [ number, hook ]
            }
        | Command.RemoveHook _ when model.Hooks.IsEmpty -> model
        | Command.RemoveHook which ->
            let i = at which model.Hooks
            real.Handles[i].Dispose()
            real.Handles <- List.removeAt i real.Handles

            { model with
                Hooks = List.removeAt i model.Hooks
            }
        | Command.Threads count ->
            Threads.Count <- count
            model

    /// What the optimizer shows, beside what the model says.
    let private agree (rule: Rule) (real: Real) (model: Model) =
        let group i (group: Group) =
            let shown = real.Optimizer.ParamGroups[i]
            let parameter = List.head real.Parameters[i]
            let expected = Snapshot.read dtype group.Theta group.State
            let actual = Host.read dtype real.Optimizer [| parameter |]

            let present =
                { expected with
                    State =
                        expected.State
                        |> List.filter (fun (_, rows) -> rows[0].IsSome)
                        |> List.sortBy fst
                    Counts = if rule.KeepsStep then expected.Counts else [| 0L |]
                }

            let gradient =
                match group.Gradients[0] with
                | ValueNone ->
                    not parameter.HasGradient
                    |> Verdict.require (fun () -> "a gradient, and there should be none")
                | ValueSome _ when not parameter.HasGradient -> Verdict.Broken "no gradient"
                | ValueSome values -> Comparator.arrays Comparator.bitButZeros dtype values (parameter.GradientView.ToDoubles())

            Verdict.all
                [
                    Snapshot.compare Comparator.bit present actual
                    gradient
                    for name in rule.OptionNames do
                        let value = rule.Read(group.Options, name)

                        (shown[name]).Equals value
                        |> Verdict.require (fun () -> sprintf "%s is %O instead of %O" name shown[name] value)
                ]
            |> Verdict.where (sprintf "group %d" i)

        Verdict.all
            [
                real.Optimizer.ParamGroups.Count = model.Groups.Length
                |> Verdict.require (fun () -> sprintf "%d groups instead of %d" real.Optimizer.ParamGroups.Count model.Groups.Length)
                Verdict.all (List.mapi group model.Groups)
                Seq.toList real.Trace = model.Trace
                |> Verdict.require (fun () -> sprintf "hooks ran as %A instead of %A" (Seq.toList real.Trace) model.Trace)
            ]

    /// Runs commands on a fresh optimizer and a fresh model, and compares them after each.
    let run (subject: Subject) (commands: Command list) =
        let rule = subject.Rule
        let threads = Threads.Count
        let first = newParameter -1 3

        let real =
            {
                Optimizer = Host.optimizer subject rule.Defaults [ first ]
                Parameters = [ [ first ] ]
                Kept = []
                Handles = []
                Trace = ResizeArray()
            }

        let mutable model =
            {
                Groups = [ newGroup rule rule.Defaults -1 3 ]
                Kept = []
                Hooks = []
                Trace = []
            }

        try
            commands
            |> Seq.mapi (fun number command ->
                model <- apply subject real number model command

                agree rule real model
                |> Verdict.where (sprintf "after command %d, %A" (number + 1) command))
            |> Verdict.all
            |> Verdict.tellingIf (
                model.Groups
                |> List.exists (fun group -> group.State.Count 0 > 0L || not rule.KeepsStep)
            )
        finally
            Threads.Count <- threads

            for handle in real.Handles do
                handle.Dispose()

    let private command =
        let index = Gen.choose (0, 9)
        let value = Gen.elements [ 1.0; -1.0; 0.5; 0.0; 3.0; -0.125; 1e-3 ]
        let flag = Gen.elements [ true; false ]

        Gen.frequency
            [
                6, Gen.map2 (fun k x -> Command.SetGradient(k, ValueSome x)) index value
                1, index |> Gen.map (fun k -> Command.SetGradient(k, ValueNone))
                1, flag |> Gen.map Command.ZeroGrad
                8, Gen.constant Command.Step
                2, Gen.map2 (fun k x -> Command.StepWith(k, x)) index value
                4, Gen.map3 (fun g o v -> Command.SetOption(g, o, v)) index (Gen.choose (0, 19)) index
                2, Gen.map2 (fun g w -> Command.Traverse(g, w)) index index
                1, Gen.choose (1, 5) |> Gen.map Command.AddGroup
                2, Gen.map2 (fun k frozen -> Command.Freeze(k, frozen)) index flag
                2, Gen.constant Command.Save
                2, index |> Gen.map Command.Load
                1,
                Gen.elements [ Hook.Pre; Hook.Post; Hook.EveryPre; Hook.EveryPost ]
                |> Gen.map Command.AddHook
                1, index |> Gen.map Command.RemoveHook
                1, Gen.choose (1, 4) |> Gen.map Command.Threads
            ]

    /// Whatever one does, the optimizer is its model.
    let statement =
        Statement.forAll
            "M0"
            "whatever one does with an optimizer, it does what the pure step does, bit for bit"
            (fun _ -> true)
            (fun _ ->
                gen {
                    let! length = Gen.choose (5, 40)
                    return! Gen.listOfLength length command
                })
            (fun _ commands ->
                seq {
                    let half = commands.Length / 2

                    if half > 0 then
                        List.truncate half commands
                        List.skip half commands

                    for i in 0 .. commands.Length - 1 do
                        List.removeAt i commands
                })
            run
        |> Statement.alone

    /// The laws of this family.
    let all = [ statement ]
