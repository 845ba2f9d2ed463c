/// Loss scaling by PyTorch's calls: their order, the state, overflows.
module ScalerTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Golden
open Kit

let private scalerTests =
    let ready () =
        let p = param "p" DType.Float32 [| 2L |] [| 1.0; 1.0 |]
        setGradient p (Some [| 8.0; 8.0 |])
        p, Kit.optimizer "SGD" [] [ p ], GradScaler 8.0

    [
        test "PyTorch's order of calls is kept, in its words" {
            let p, optimizer, scaler = ready ()
            refuses<InvalidOperationException> "update first" [ "No inf checks were recorded prior to update" ] (fun () -> scaler.Update())
            scaler.Unscale optimizer
            expectSameBits (gradient p).Value [| 1.0; 1.0 |] "unscaled"

            refuses<InvalidOperationException>
                "twice"
                [
                    "unscale_() has already been called on this optimizer since the last update()"
                ]
                (fun () -> scaler.Unscale optimizer)

            Expect.isTrue (scaler.Step optimizer) "stepped"

            refuses<InvalidOperationException> "unscale after step" [ "unscale_() is being called after step()" ] (fun () ->
                scaler.Unscale optimizer)

            refuses<InvalidOperationException> "step twice" [ "step() has already been called since the last update()" ] (fun () ->
                scaler.Step optimizer |> ignore)

            scaler.Update()
            p.DropGradient()
            refuses<InvalidOperationException> "no gradients" [ "No inf checks were recorded" ] (fun () -> scaler.Step optimizer |> ignore)

            refuses<InvalidOperationException> "a closure" [ "Closure use is not currently supported" ] (fun () ->
                scaler.Step(optimizer, Func<float>(fun () -> 0.0)) |> ignore)
        }
        test "the state of a scaler has PyTorch's keys" {
            let case = files "grad_scaler*.json" |> List.head |> Golden.cases |> Seq.head
            let expected = field "state_dict" case |> pairs number
            let scaler = GradScaler()

            let state =
                Tree.Dict [| for name, value in expected -> struct (name, Tree.Float value) |]

            scaler.LoadStateDict state |> ignore
            let saved = scaler.StateDict()
            Expect.sequenceEqual (saved.AsMap().Keys |> Seq.map string) [ for name, _ in expected -> $"'{name}'" ] "keys"

            for name, value in expected do
                expectSameBits (saved[name].ToDoubles()) [| value |] name

            refuses<InvalidOperationException> "empty" [ "The source state dict is empty" ] (fun () ->
                scaler.LoadStateDict(GradScaler(enabled = false).StateDict()) |> ignore)

            refuses<ArgumentException> "a key" [ "missing: scale" ] (fun () ->
                scaler.LoadStateDict(Tree.Dict(struct ("scales", Tree.Float 1.0))) |> ignore)
        }
        test "schedulers do not warn of a step that was skipped" {
            let p, optimizer, scaler = ready ()
            setGradient p (Some [| infinity; 1.0 |])
            let schedule = ExponentialLR(optimizer, gamma = 0.5)
            Expect.isFalse (scaler.Step optimizer) "skipped"
            let warnings = warningsOf schedule
            schedule.Step()
            Expect.isEmpty warnings "warnings"
        }
        test "float16 gradients are refused" {
            let p =
                Param.Of("p", TensorView.OfDoubles(DType.Float16, ReadOnlySpan [| 1.0 |], ReadOnlySpan [| 1L |]))

            p.BindGradient(TensorView.OfDoubles(DType.Float16, ReadOnlySpan [| 1.0 |], ReadOnlySpan [| 1L |]))
            let optimizer = Kit.optimizer "SGD" [] [ p ]

            refuses<ArgumentException> "float16" [ "Attempting to unscale FP16 gradients"; "'p'" ] (fun () ->
                GradScaler().Step optimizer |> ignore)
        }
        test "settings outside of their ranges are refused by name and value" {
            for name, make in
                [
                    "init_scale", (fun () -> GradScaler 0.0)
                    "growth_factor", (fun () -> GradScaler(growthFactor = 1.0))
                    "backoff_factor", (fun () -> GradScaler(backoffFactor = 1.0))
                    "growth_interval", (fun () -> GradScaler(growthInterval = 0L))
                ] do
                refuses<OptionException> name [ name; "must be" ] (fun () -> make () |> ignore)
        }
        test "disabled, it does nothing" {
            let p, optimizer, _ = ready ()
            let scaler = GradScaler(enabled = false)
            Expect.equal (scaler.Scale 3.0, scaler.GetScale()) (3.0, 1.0) "scale"
            scaler.Unscale optimizer
            Expect.isTrue (scaler.Step optimizer) "stepped"
            scaler.Update()
            expectSameBits (gradient p).Value [| 8.0; 8.0 |] "gradient"
        }
        test "the scale never grows to infinity, and can be set" {
            let grown =
                LossScaling.update
                    false
                    { LossScaling.defaults with
                        Scale = 3e38
                        GrowthInterval = 1L
                    }

            Expect.equal grown.Scale 3e38 "scale"
            let scaler = GradScaler()
            scaler.Update(Nullable 4.0)
            Expect.equal (scaler.GetScale()) 4.0 "set"
        }
        test "two optimizers share a scaler by its own calls, and attaching it to both is refused" {
            let p, first, scaler = ready ()
            let q = param "q" DType.Float32 [| 1L |] [| 1.0 |]
            setGradient q (Some [| infinity |])
            let second = Kit.optimizer "SGD" [] [ q ]
            first.Attach(scaler = scaler)
            refuses<ArgumentException> "a second owner" [ "scaler.Step(optimizer)" ] (fun () -> second.Attach(scaler = scaler))
            first.Attach()
            Expect.equal (scaler.Step first, scaler.Step second) (true, false) "stepped"
            scaler.Update()
            Expect.equal (scaler.GetScale()) 4.0 "one overflow is enough"
            Expect.equal (values q) [| 1.0 |] "q"
            Expect.notEqual (values p) [| 1.0; 1.0 |] "p"
        }
    ]

[<Tests>]
let tests = testList "around" [ testList "scaler" scalerTests ]
