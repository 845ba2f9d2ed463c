/// Steps with a graph: their derivatives, and what else they must do.
module DifferentiableTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open DifferentiableKit

type private Tensor = torch.Tensor

let private adam = Rules.Find "adam"

let private others =
    [
        test "an option of value 0 has its derivative, though an ordinary step leaves its term out" {
            for rule, name in
                [
                    "SGD", "weight_decay"
                    "SGD", "momentum"
                    "Adam", "weight_decay"
                    "RMSprop", "momentum"
                ] do
                let rule = Kit.rule rule
                let options = rule.Replace(rule.Defaults, "lr", OptionValue.Float 0.05)
                let _, _, _, derivative = traced rule options [ name ] [ 0.0 ] start
                let zero = Array.zeroCreate start.X0.Length

                let loss value =
                    plainly rule (rule.Replace(options, name, OptionValue.Float value)) zero start
                // One-sided, as below 0 there is nothing.
                let oneSided = (4.0 * loss 1e-6 - 3.0 * loss 0.0 - loss 2e-6) / 2e-6
                Expect.isGreaterThan (abs oneSided) 1e-3 "it matters"
                close $"{rule.Name} by {name}" 1e-4 (Array.ofList derivative) [| oneSided |]
        }

        test "nothing that goes in changes, and two runs go on from one state" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))
            let x, g = leaf [| 1.0; 2.0 |], torch.tensor [| 0.5; -0.5 |]
            let struct (x1, s1) = step.Run(x, g, step.Init x)
            let before = [ doubles x1; doubles (s1.Rows[0].Columns["exp_avg"]) ]
            let struct (a, _) = step.Run(x1, g, s1)
            let struct (b, _) = step.Run(x1, g, s1)
            Expect.equal (doubles a) (doubles b) "twice the same"
            Expect.equal [ doubles x1; doubles (s1.Rows[0].Columns["exp_avg"]) ] before "unchanged"
            Expect.equal (doubles x, doubles g) ([| 1.0; 2.0 |], [| 0.5; -0.5 |]) "nor the rest"
            Expect.equal s1.Rows[0].Step 1L "steps"
        }

        test "parameters without a gradient stay, with their state and their count" {
            let step = Differentiable.Step(adam, adam.Defaults)
            let x, y = leaf [| 1.0 |], leaf [| 2.0; 3.0 |]

            let struct (moved, state) =
                step.Run([ x; y ], [ torch.ones_like x; null ], step.Init(x, y))

            Expect.equal (doubles moved[1]) [| 2.0; 3.0 |] "stays"
            Expect.equal [ for row in state.Rows -> row.Step ] [ 1L; 0L ] "counts"
            Expect.isEmpty state.Rows[1].Columns "no state"
            moved[1].sum().backward()
            Expect.equal (grad y) [| 1.0; 1.0 |] "its graph goes through"
        }

        test "numbers without dimensions, half types and float32 keep shape and dtype, and half types a state in float32" {
            for rule in elementWise do
                for dtype in [ torch.float16; torch.bfloat16; torch.float32; torch.float64 ] do
                    for shape in [ [||]; [| 1L |]; [| 2L; 3L |]; [| 0L |] ] do
                        let step = Differentiable.Step(rule, rule.Defaults, struct ("lr", number 0.125))
                        let x: Tensor = torch.ones(shape, dtype = Nullable dtype).requires_grad_ true
                        let struct (x1, s1) = step.Run(x, torch.ones_like x, step.Init x)
                        let struct (x2, s2) = step.Run(x1, torch.ones_like x, s1)
                        let what = $"{rule.Name}, {dtype}, {x.Dimensions} dimensions"
                        Expect.equal (x2.dtype, x2.shape) (dtype, shape) what

                        for KeyValue(name, column) in
                            s2.Rows[0].Columns
                            |> Seq.filter (fun c -> not (rule.ScalarNames.Contains c.Key)) do
                            Expect.equal column.shape shape $"{what}, {name}"
                            let wide = if dtype = torch.float64 then dtype else torch.float32
                            Expect.equal column.dtype wide what

                        x2.sum().backward()
                        Expect.all (grad x) Double.IsFinite what
        }

        test "complex numbers are pairs of reals" {
            for rule in elementWise do
                let step = Differentiable.Step(rule, rule.Defaults)
                let values = [| 0.5; -1.0; 2.0; 0.25 |]
                let gradient = [| 1.0; 0.5; -0.25; 2.0 |]
                let pairs = leaf values
                let complex = (torch.tensor values).reshape(2L, 2L).view_as_complex()
                let complexGradient = (torch.tensor gradient).reshape(2L, 2L).view_as_complex()
                let struct (a, s) = step.Run(pairs, torch.tensor gradient, step.Init pairs)
                let struct (b, t) = step.Run(complex, complexGradient, step.Init complex)
                let struct (a, _) = step.Run(a, torch.tensor gradient, s)
                let struct (b, _) = step.Run(b, complexGradient, t)
                Expect.equal (doubles (b.view_as_real().reshape -1L)) (doubles a) rule.Name
        }

        test "no tensor is left behind but what comes out, and memory stays flat" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))

            let steps count =
                use _ = torch.NewDisposeScope()
                let x = leaf (Array.create 1000 1.0)
                let mutable y, state = x, step.Init x

                for _ in 1..count do
                    let struct (moved, next) = step.Run(y, y, state)
                    y <- moved
                    state <- next

                y.sum().backward()

            let outer =
                use _ = torch.NewDisposeScope()
                let before = Tensor.TotalCount
                let x = leaf [| 1.0 |]
                let struct (_, _) = step.Run(x, torch.ones_like x, step.Init x)
                Tensor.TotalCount - before

            // x, the gradient, the moved parameter and two columns.
            Expect.isLessThanOrEqual outer 5L "live tensors of one step"
            // Those of other tests that nobody holds any more would go in between.
            collect ()
            steps 5
            let count = Tensor.TotalCount

            for _ in 1..20 do
                steps 5

            // One vector left behind in each step would be 16 MB.
            expectFlat (8L <<< 20) (fun () ->
                for _ in 1..400 do
                    steps 5)

            Expect.equal Tensor.TotalCount count "live tensors"
        }

        test "under no_grad there is no graph" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))
            use _ = torch.no_grad ()
            let x = leaf [| 1.0 |]
            let struct (moved, _) = step.Run(x, torch.ones_like x, step.Init x)
            Expect.isFalse moved.requires_grad "none"
        }

        test "refused: what is no number of a step, with what would be" {
            let make name value () =
                Differentiable.Step(adam, adam.Defaults, struct (name, value)) |> ignore

            refuses<OptionException> "unknown" [ "Adam"; "'momentum'"; "beta1"; "weight_decay" ] (make "momentum" (number 0.5))
            refuses<OptionException> "a pair" [ "'betas'"; "beta1" ] (make "betas" (number 0.5))
            refuses<OptionException> "range" [ "lr is -1"; "at least 0" ] (make "lr" (number -1.0))
            refuses<OptionException> "part of a pair" [ "betas"; "1.5"; "[0, 1)" ] (make "beta2" (number 1.5))
            refuses<ArgumentException> "two elements" [ "lr"; "2 elements" ] (make "lr" (leaf [| 0.1; 0.2 |]))

            refuses<OptionException> "twice" [ "lr"; "twice" ] (fun () ->
                Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.5), struct ("lr", number 0.5))
                |> ignore)
        }

        test "refused: an eps that float32 rounds to 0, as a number or as a tensor; 0 itself and float64 are taken" {
            let run (dtype: torch.ScalarType) (options: IOptimizerOptions) tensors =
                let step = Differentiable.Step(adam, options, tensors)
                let x = torch.ones (2L, dtype = Nullable dtype)
                step.Run(x, torch.ones_like x, step.Init x) |> ignore

            let tiny = adam.Replace(adam.Defaults, "eps", OptionValue.Float 1e-50)

            for dtype in [ torch.float32; torch.bfloat16 ] do
                refuses<OptionException> "a number" [ "eps is 1e-50"; "parameter 0"; "float32" ] (fun () -> run dtype tiny [||])

                refuses<OptionException> "a tensor" [ "eps is 1e-50" ] (fun () ->
                    run dtype adam.Defaults [| struct ("eps", number 1e-50) |])

                run dtype adam.Defaults [| struct ("eps", number 0.0) |]

            run torch.float64 tiny [||]
        }

        test "refused: rules that do not work element by element, as in PyTorch" {
            // LBFGS is no rule, so there is nothing to give.
            for name in [ "Muon"; "Adafactor"; "SparseAdam" ] do
                let rule = rule name

                refuses<NotSupportedException> name [ name; "differentiable" ] (fun () ->
                    Differentiable.Step(rule, rule.Defaults) |> ignore)
        }

        test "refused: gradients and states that do not fit" {
            let step = Differentiable.Step(adam, adam.Defaults)
            let x = leaf [| 1.0; 2.0 |]
            let state = step.Init x
            let run (g: Tensor) () = step.Run(x, g, state) |> ignore
            refuses<ArgumentException> "shape" [ "[3]"; "[2]" ] (run (torch.zeros ([| 3L |], dtype = Nullable torch.float64)))
            refuses<NotSupportedException> "dtype" [ "Float32"; "Float64" ] (run (torch.zeros [| 2L |]))
            refuses<NotSupportedException> "sparse" [ "sparse" ] (run ((torch.tensor [| 1.0; 0.0 |]).to_sparse()))
            refuses<ArgumentException> "integers" [ "Int64" ] (fun () -> step.Init(torch.tensor [| 1L |]) |> ignore)

            refuses<ArgumentException> "another rule's state" [ "SGD"; "Adam" ] (fun () ->
                let sgd = Kit.rule "SGD"
                step.Run(x, x, Differentiable.Step(sgd, sgd.Defaults).Init x) |> ignore)
        }

        test "the flag differentiable of an ordinary step points here" {
            let w = leaf [| 1.0 |]
            w.grad <- torch.ones_like w

            for rule in elementWise do
                if rule.Has "differentiable" then
                    let optimizer =
                        RuleOptimizer(
                            rule,
                            Seq.cast<IParameterOrGroup>(Torch.Parameters(struct ("w", w))),
                            struct ("differentiable", OptionValue.Bool true)
                        )

                    refuses<NotSupportedException> rule.Name [ "differentiable is True"; "Differentiable.Step" ] optimizer.Step
        }
    ]

let tests = DerivativeTests.tests @ others
