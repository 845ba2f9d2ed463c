namespace Optim.Core

open System
open Optim.Kernels

/// How Muon's learning rate depends on the shape of a matrix of r rows and c columns.
type MuonRate =
    /// As <c>Original</c>.
    | Default = 0
    /// sqrt(max(1, r / c)).
    | Original = 1
    /// 0.2 sqrt(max(r, c)), which makes steps as long as AdamW's.
    | MatchRmsAdamw = 2
    /// sqrt(r / c).
    | SpectralUnclamped = 3

/// Who multiplies matrices.
type MuonProduct =
    /// Optim: the same bits on every machine.
    | Own = 0
    /// A provider that has registered, such as libtorch (MatrixProducts.Provider): faster on some machines, and the bits depend on it.
    | Provider = 1

/// The options of Muon.
[<NoComparison>]
type MuonOptions =
    {
        Lr: double
        WeightDecay: double
        Momentum: double
        Nesterov: bool
        NsCoefficients: struct (double * double * double)
        Eps: double
        NsSteps: int
        AdjustLrFn: MuonRate
        Precision: MuonPrecision
        Product: MuonProduct
    }

    interface IOptimizerOptions

/// Muon (Jordan and others, 2024; Liu and others, arXiv:2502.16982), as PyTorch has it, for matrices: B = B + (1 - momentum) (g - B),
/// O = NewtonSchulz(g + momentum (B - g)), x = x (1 - lr weight_decay) - lr f(r, c) O. NewtonSchulz makes the singular values about 1: X over its
/// norm, then ns_steps times A = X X', X = a X + (b A + c A A) X.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Muon =
    /// PyTorch's, but for precision: PyTorch iterates in bfloat16.
    let defaults =
        {
            Lr = 1e-3
            WeightDecay = 0.1
            Momentum = 0.95
            Nesterov = true
            NsCoefficients = struct (3.4445, -4.7750, 2.0315)
            Eps = 1e-7
            NsSteps = 5
            AdjustLrFn = MuonRate.Default
            Precision = MuonPrecision.Float32
            Product = MuonProduct.Own
        }

    let private rates =
        [
            "", MuonRate.Default
            "original", MuonRate.Original
            "match_rms_adamw", MuonRate.MatchRmsAdamw
            "spectral_unclamped", MuonRate.SpectralUnclamped
        ]

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.number "momentum" (Interval.atLeast 0.0) _.Momentum (fun o v -> { o with Momentum = v })
            Field.flag "nesterov" _.Nesterov (fun o v -> { o with Nesterov = v })
            Field.triple "ns_coefficients" Interval.any _.NsCoefficients (fun o v -> { o with NsCoefficients = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.whole "ns_steps" (Interval.upTo 0.0 100.0) _.NsSteps (fun o v -> { o with NsSteps = v })
            Field.oneOf "adjust_lr_fn" rates _.AdjustLrFn (fun o v -> { o with AdjustLrFn = v })
            Field.oneOf "precision" [ "float32", MuonPrecision.Float32; "bfloat16", MuonPrecision.BFloat16 ] _.Precision (fun o v ->
                { o with Precision = v })
            |> Field.beyondPyTorch
            Field.oneOf "product" [ "own", MuonProduct.Own; "provider", MuonProduct.Provider ] _.Product (fun o v -> { o with Product = v })
            |> Field.beyondPyTorch
        ]

    /// What lr is multiplied by for a matrix.
    let private factor rate (rows: double) (columns: double) =
        match rate with
        | MuonRate.MatchRmsAdamw -> 0.2 * sqrt (max rows columns)
        | MuonRate.SpectralUnclamped -> sqrt (rows / columns)
        | _ -> sqrt (max 1.0 (rows / columns))

    let private products options =
        if options.Product = MuonProduct.Provider then
            MatrixProducts.Provider
        else
            null

    let private numbers o (parameter: Layout) =
        let struct (a, b, c) = o.NsCoefficients

        let rate =
            o.Lr
            * factor o.AdjustLrFn (double parameter.Shape[0]) (double parameter.Shape[1])

        MuonNumbers(o.Momentum, o.Nesterov, 1.0 - o.Lr * o.WeightDecay, rate, o.Eps, a, b, c, o.NsSteps, o.Precision)

    let private shape (parameter: Layout) =
        parameter.WithDType(parameter.DType.ToStateDType()).ToContiguous()

    let private arithmetic =
        { new TensorArithmetic<MuonOptions>() with
            member _.Scope = RuleScope.Matrices
            member _.Counts = false
            member _.Columns = [ "momentum_buffer" ]

            member _.Shape(_, _, parameter) = shape parameter
            member _.Restored(_, parameter, _) = shape parameter

            member _.Refuse parameter =
                if parameter.Shape.Length = 2 then
                    ""
                else
                    let size = String.Join(", ", parameter.Shape)
                    $"is of size [{size}]; Muon only supports 2D parameters (ForMuon.Split splits a model's)"

            member _.Check options =
                if options.Product = MuonProduct.Provider && isNull MatrixProducts.Provider then
                    raise (
                        InvalidOperationException
                            "Muon: product is provider, and none has registered; with Optim.TorchSharp, TorchProducts.Register() makes it libtorch"
                    )

            member _.Step(o, _, _, tensors, workspace, executor) =
                let parameter = tensors.Parameter

                MuonPass.Run(
                    MuonTensor(
                        parameter.DType,
                        nativeint parameter.Shape[0],
                        nativeint parameter.Shape[1],
                        parameter.Address,
                        tensors.Gradient.Address,
                        tensors.Address 0
                    ),
                    numbers o parameter.Layout,
                    products o,
                    workspace,
                    executor
                )

            member _.KernelsOf device =
                let kernels = MuonKernels device

                ValueSome
                    { new TensorKernels<MuonOptions>() with
                        // Every matrix rounded to bfloat16 is left to whole lanes.
                        member _.Takes o = o.Precision = MuonPrecision.Float32
                        member _.IsAlone = false

                        member _.Prepare(o, _, _, rows, survey) =
                            kernels.Prepare(rows, numbers o, survey)

                        member _.Step(o, _, _, rows, executor, survey) =
                            kernels.Step(rows, numbers o, executor, survey)
                    }

            member _.StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
                (o, _, parameter, row: 'v array)
                =
                MuonWhole<'v>.Run(Span row, parameter.Shape[0] > parameter.Shape[1], numbers o parameter)
        }

    /// The rule.
    let rule: Rule<MuonOptions> =
        TensorRule<MuonOptions>("Muon", defaults, options, arithmetic)
        |> Rule.declare
            [
                Declaration.optOut "U3" "the step is made orthogonal as a whole, which turns single elements against their sign"
            ]

    /// The options, or all that is wrong with them.
    let validate options = Rule.validate rule options

    /// The state before the first step.
    let init options parameters = Rule.init rule options parameters

    /// A step in place.
    let step options parameters gradients state =
        Rule.step rule options parameters gradients state

    /// A step that touches nothing that it is given.
    let pureStep options parameters gradients state =
        Rule.pureStep rule options parameters gradients state
