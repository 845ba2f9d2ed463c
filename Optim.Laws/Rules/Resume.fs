namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// S: state, saving and going on. E7 stands with them.
[<RequireQualifiedAccess>]
module Resume =
    let private everyRule (_: Rule) = true

    let internal several rule =
        { Recipe.any rule with
            Absent = 20
            Steps = 2, 10
            Length = Gen.choose (1, 40)
        }

    /// An optimizer after the first steps of a scenario.
    let private after (subject: Subject) (s: Scenario) (steps: int) =
        let parameters = Host.parameters s
        let optimizer = Host.optimizer subject s.Options parameters
        Host.run subject optimizer s.DType parameters s.History[.. steps - 1]
        struct (parameters, optimizer)

    /// Fresh parameters with the elements of others.
    let private again (s: Scenario) (parameters: Param[]) =
        Host.parameters
            { s with
                Start = Array.map Host.theta parameters
            }

    let private half (s: Scenario) (part: int) =
        min (s.History.Length - 1) (1 + (s.History.Length - 1) * part / 1000)

    /// The rest of a run by another optimizer, which is given the state in the middle: the end is that of one optimizer.
    let private goesOn (subject: Subject) (s: Scenario) part (other: Param[] -> Optimizer) =
        let at = half s part
        let struct (parameters, optimizer) = after subject s at
        let copies = again s parameters
        let fresh = other copies
        subject.Shell.Load fresh (subject.Shell.Save optimizer)
        Host.run subject fresh s.DType copies s.History[at..]
        Snapshot.compare Comparator.bit (Host.final subject s) (Host.read s.DType fresh copies)

    /// S1: what is loaded is what was saved.
    let roundTrip =
        Statement.about "S1" "loading what was saved gives the same state dict, bit for bit" everyRule several (fun subject s ->
            let struct (parameters, optimizer) = after subject s s.History.Length
            let saved = subject.Shell.Save optimizer
            // The options that a group was given come first in its dict: the other one was given the same, with other values.
            let group = Host.group s.Rule s.Options (again s parameters)

            for name in Seq.toArray group.OptionNames do
                group[name] <- s.Rule.Read(s.Rule.Defaults, name)

            let fresh = subject.Shell.Open s.Rule [] [ group ]
            subject.Shell.Load fresh saved

            Saved.compare saved (subject.Shell.Save fresh)
            |> Verdict.tellingIf (saved.State.Count > 0))

    /// S2: going on from what was saved.
    let resume =
        Statement.withDraw
            "S2"
            "steps, save, load and more steps are all the steps at once"
            everyRule
            several
            (Gen.choose (0, 999))
            (fun subject part s ->
                goesOn subject s part (Host.optimizer subject s.Rule.Defaults)
                |> Verdict.tellingIf (Run.moves subject s))

    /// S3: names find their state.
    let byName =
        Statement.withDraw
            "S3"
            "a state dict finds named parameters in any order"
            everyRule
            several
            (Gen.zip (Gen.choose (0, 999)) (Gen.choose (0, 1_000_000)))
            (fun subject (part, seed) s ->
                let order = Array.init s.Start.Length id
                Random(seed).Shuffle order

                goesOn subject s part (fun copies -> Host.optimizer subject s.Options (order |> Array.map (fun k -> copies[k])))
                |> Verdict.tellingIf (order <> Array.sort order && Run.moves subject s))

    let private overwrite (saved: StateDict) =
        for state in saved.State.Values do
            for key in state.Keys do
                match state[key] with
                | Tree.Tensor view when view.DType = DType.Float32 || view.DType = DType.Float64 ->
                    for i in 0 .. int view.Count - 1 do
                        Tensor.set view i 1234.0
                | _ -> ()

        for group in saved.ParamGroups do
            for key in Seq.toArray group.Keys do
                match group[key] with
                | OptionValue.Float x -> group[key] <- Options.ofNumber (0.5 * x)
                | _ -> ()

    /// S4: a state dict is data.
    let clone =
        Statement.about "S4" "a clone of a state dict shares nothing with it" everyRule several (fun subject s ->
            let struct (_, optimizer) = after subject s s.History.Length
            let saved = subject.Shell.Save optimizer
            let before = Saved.numbers saved
            overwrite (subject.Shell.Clone saved)

            Saved.numbers saved = before
            |> Verdict.require (fun () -> "what was written into the clone stands in the dict")
            |> Verdict.tellingIf (saved.State.Count > 0))

    /// S5: saving is looking.
    let savingChangesNothing =
        Statement.withDraw
            "S5"
            "saving changes nothing, and saving twice gives the same"
            everyRule
            several
            (Gen.choose (0, 999))
            (fun subject part s ->
                let at = half s part
                let struct (parameters, optimizer) = after subject s at
                let first = subject.Shell.Clone(subject.Shell.Save optimizer)
                let second = subject.Shell.Clone(subject.Shell.Save optimizer)
                Host.run subject optimizer s.DType parameters s.History[at..]

                Verdict.both
                    (Saved.compare first second)
                    (Snapshot.compare Comparator.bit (Host.final subject s) (Host.read s.DType optimizer parameters))
                |> Verdict.tellingIf (first.State.Count > 0))

    /// E7: nothing is shared.
    let noAliasing =
        Statement.withDraw
            "E7"
            "what one writes into a loaded dict, a group or another parameter's state changes nothing else"
            everyRule
            several
            (Gen.choose (0, 999))
            (fun subject part s ->
                let at = half s part
                let struct (parameters, optimizer) = after subject s at
                let saved = subject.Shell.Clone(subject.Shell.Save optimizer)

                let load () =
                    let copies = again s parameters
                    let fresh = Host.optimizer subject s.Options copies
                    subject.Shell.Load fresh saved
                    struct (copies, fresh)

                let struct (first, firstOptimizer) = load ()
                let struct (second, secondOptimizer) = load ()
                overwrite saved

                // The first one goes on; the second must not see it.
                Host.run subject firstOptimizer s.DType first s.History[at..]
                let defaults = firstOptimizer.Defaults |> Seq.map string |> Seq.toList

                let edited =
                    // Chains have an lr that is no option of theirs.
                    if Options.has "weight_decay" subject.Rule && not (Options.has "lr" subject.Rule) then
                        "weight_decay"
                    else
                        "lr"

                subject.Shell.SetOption firstOptimizer.ParamGroups[0] edited (Options.ofNumber 0.123)

                let sameDefaults =
                    defaults = (firstOptimizer.Defaults |> Seq.map string |> Seq.toList)
                    |> Verdict.require (fun () -> "an edit of a group has changed the defaults")

                Host.run subject secondOptimizer s.DType second s.History[at..]
                let expected = Host.final subject s
                let inside = Host.read s.DType secondOptimizer second

                // What lies in the state of one parameter is its own.
                let state = secondOptimizer.State second[0]

                for key in state.Keys do
                    match state[key] with
                    | Tree.Tensor view when key <> "step" ->
                        for i in 0 .. int view.Count - 1 do
                            Tensor.set view i 77.0
                    | _ -> ()

                let others (snapshot: Snapshot) =
                    { snapshot with
                        State = snapshot.State |> List.map (fun (name, rows) -> name, Array.skip 1 rows)
                        Scalars = snapshot.Scalars |> List.map (fun (name, numbers) -> name, Array.skip 1 numbers)
                        Counts = Array.skip 1 snapshot.Counts
                    }

                Verdict.all
                    [
                        Snapshot.compare Comparator.bit expected (Host.read s.DType firstOptimizer first)
                        |> Verdict.where "the first of two that loaded a dict"
                        Snapshot.compare Comparator.bit expected inside
                        |> Verdict.where "the second of two that loaded a dict"
                        Snapshot.compareState Comparator.bit (others inside) (others (Host.read s.DType secondOptimizer second))
                        |> Verdict.where "another parameter's state"
                        sameDefaults
                    ]
                |> Verdict.tellingIf (Run.moves subject s))

    /// The laws of this family.
    let all = [ noAliasing; roundTrip; resume; byName; clone; savingChangesNothing ]
