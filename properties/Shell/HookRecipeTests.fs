/// The recipes of PyTorch's manual for hooks that adapt a loaded state dict.
module HookRecipeTests

open Expecto
open Optim
open Reference
open Kit

let tests =
    let linear prefix =
        [ vector $"{prefix}.weight" [ 1.0; 2.0; 3.0 ]; vector $"{prefix}.bias" [ 0.5 ] ]

    let trained (list: Param list) =
        let optimizer = new SGD(parameters list, lr = 0.01, momentum = 0.9)

        for k in 0..2 do
            for i, p in List.indexed list do
                setGradient p (Some(noise (k + 10 * i) (values p).Length))

            optimizer.Step()

        optimizer

    let buffer (optimizer: Optimizer) (p: Param) = column optimizer p "momentum_buffer"

    /// The optimizer's own dict, with the loaded options, and for each parameter the state of the one that `lookup` names.
    let adapt (lookup: string -> string option) (optimizer: Optimizer) (loaded: StateDict) =
        let adapted = optimizer.StateDict().Clone()

        for g in 0 .. loaded.ParamGroups.Count - 1 do
            let from, into = loaded.ParamGroups[g], adapted.ParamGroups[g]

            for KeyValue(key, value) in List.ofSeq from do
                into[key] <- value

            for id, name in Seq.zip into.Params into.ParamNames do
                match lookup name with
                | Some name ->
                    let id' = from.Params[from.ParamNames.IndexOf name]

                    match loaded.State.TryGetValue id' with
                    | true, state -> adapted.State[id] <- state.Clone()
                    | _ -> ()
                | None -> ()

        adapted

    testList
        "recipes of the manual"
        [
            testCase "one layer's state for two layers" (fun () ->
                let source = linear "fc"
                let dict = (trained source).StateDict()
                let list = linear "fc1" @ linear "fc2"
                let target = new SGD(parameters list, lr = 0.5)

                let lookup (name: string) =
                    Some("fc" + name.Substring(name.IndexOf '.'))

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt lookup optimizer loaded)
                |> ignore

                // The dict has fewer parameters than the optimizer: only the hook makes it fit.
                target.LoadStateDict dict |> ignore
                Expect.equal (target.ParamGroups[0]["lr"]) (option (Number 0.01)) "lr"
                Expect.equal (target.ParamGroups[0]["momentum"]) (option (Number 0.9)) "momentum"
                let original = trained source

                for i, p in List.indexed list do
                    expectSameBits (buffer target p) (slot dict (i % 2) "momentum_buffer") "state"

                ignore original
                setGradient list[0] (Some [| 1.0; 1.0; 1.0 |])
                target.Step()
                Expect.notEqual (buffer target list[0]) (buffer target list[2]) "the copies are independent")

            testCase "a new layer starts from scratch" (fun () ->
                let source = linear "fc"
                let dict = (trained source).StateDict()
                let bypass = vector "bypass.weight" [ 1.0; 0.0 ]
                let list = linear "fc" @ [ bypass ]
                let target = new SGD(parameters list, lr = 0.5)

                let lookup name =
                    if name = "bypass.weight" then None else Some name

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt lookup optimizer loaded)
                |> ignore

                target.LoadStateDict dict |> ignore

                for i in 0..1 do
                    expectSameBits (buffer target list[i]) (slot dict i "momentum_buffer") "fc"

                Expect.equal (List.ofSeq (target.StateDict().State.Keys)) [ 0; 1 ] "the bypass has no state"
                setGradient bypass (Some [| 1.0; 2.0 |])
                target.Step()
                expectSameBits (buffer target bypass) [| 1.0; 2.0 |] "its first step is a first step")

            testCase "state by names instead of order" (fun () ->
                let source = linear "fc" @ linear "head"
                let dict = (trained source).StateDict()
                let list = List.rev (linear "fc" @ linear "head")
                let target = new SGD(parameters list, lr = 0.5)

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt Some optimizer loaded)
                |> ignore
                // By order, so that it is the hook that matches names.
                target.LoadStateDict(dict, matchBy = MatchBy.Order) |> ignore

                for i, p in List.indexed (List.rev list) do
                    expectSameBits (buffer target p) (slot dict i "momentum_buffer") "state")
        ]
