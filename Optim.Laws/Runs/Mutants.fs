namespace Optim.Laws

// Options of any rule are an IOptimizerOptions.
#nowarn "3559"

open System
open Optim.Core
open Optim.Kernels

/// Subjects with a defect: what a law does not hold of shows that the law can fail.
module Mutant =
    /// With options changed before each step.
    let withOptions (change: Rule -> IOptimizerOptions -> IOptimizerOptions) (subject: Subject) =
        let change = change subject.Rule

        { subject with
            Init = fun options -> subject.Init(change options)
            Step = fun options -> subject.Step(change options)
            PureStep = fun options -> subject.PureStep(change options)
        }

    /// With one option replaced before each step.
    let withOption name value =
        withOptions (fun rule options -> Options.set [ name, value ] rule options)

    /// With steps in place wrapped.
    let around
        (wrap: (Parameters -> Gradients -> State -> State) -> IOptimizerOptions -> Parameters -> Gradients -> State -> State)
        (subject: Subject)
        =
        { subject with
            Step = fun options -> wrap (subject.Step options) options
        }

    /// With something done after each step in place.
    let after (act: IOptimizerOptions -> Parameters -> Gradients -> State -> unit) =
        around (fun step options parameters gradients state ->
            let next = step parameters gradients state
            act options parameters gradients next
            next)

    /// With the gradients of each step in place mapped, as numbers.
    let withGradients (change: IOptimizerOptions -> float[] -> float[]) =
        around (fun step options parameters gradients state ->
            let mapped (gradient: Gradient) =
                if gradient.Kind = GradientKind.Absent then
                    gradient
                else
                    let values = gradient.Values.ToDoubles() |> change options

                    let values =
                        Tensor.shaped (Seq.toArray gradient.Values.Shape) gradient.Values.DType values

                    if gradient.Kind = GradientKind.Sparse then
                        Gradient.OfSparse(gradient.Rows, values)
                    else
                        Gradient.OfDense values

            step parameters (Gradients.Of [ for k in 0 .. gradients.Count - 1 -> mapped gradients[k] ]) state)
