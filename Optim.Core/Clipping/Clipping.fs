namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// Clipping of gradients, as torch.nn.utils has it: by value, and by the norm of all of them together. Gradients that are absent
/// are passed over; a sparse one is the sum of its rows, and what is written in place has each row's sum in the first of its places
/// and zeros in the others. Norms are formed by one fixed tree, so they do not depend on the number of threads.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Clipping =
    let private scaling = Driver<ScaleFormula>.Instance
    let private clamping = Driver<ClampFormula>.Instance

    let private change (driver: Driver) (number: double) (gradients: Gradients) (executor: Executor) =
        Argument.notNull "gradients" gradients
        Argument.notNull "executor" executor

        for row in 0 .. gradients.Count - 1 do
            gradients[row].SumRows()

        let views =
            [|
                for row in 0 .. gradients.Count - 1 do
                    if gradients[row].Kind <> GradientKind.Absent then
                        gradients[row].Values
            |]

        let coefficients = Coefficients<Real>(Real number)
        Elements.Run(driver, 0, &coefficients, ReadOnlySpan views, ReadOnlySpan(), executor)

    let private limits = Interval.atLeast 0.0

    /// Refuses a largest norm below 0 or NaN; an OptionException names it.
    let checkNorm (maxNorm: double) =
        Field.require "clip_grad_norm_" "max_norm" limits maxNorm

    /// Refuses a limit of elements below 0 or NaN; an OptionException names it.
    let checkValue (limit: double) =
        Field.require "clip_grad_value_" "clip_value" limits limit

    /// Refuses NaN as the order of a norm; an OptionException names it.
    let checkOrder (order: double) =
        Field.require "clip_grad_norm_" "norm_type" Interval.any order

    /// By what gradients of a total norm are multiplied so that it is at most this: max_norm / (total + 1e-6), at most 1.
    let coefficient (maxNorm: double) (total: double) =
        let coefficient = maxNorm / (total + 1e-6)
        if coefficient > 1.0 then 1.0 else coefficient

    /// The norm of all gradients together, of any order (infinity: the largest magnitude); 0 when there are none. Negative orders take
    /// no sparse gradients.
    let totalNorm (order: double) (gradients: Gradients) =
        Argument.notNull "gradients" gradients
        checkOrder order
        let survey = GradientSurvey()
        survey.Add gradients
        survey.Run(order, 1.0, Executor.Team)
        survey.Total

    /// Multiplies gradients in place.
    let scale (factor: double) (gradients: Gradients) (executor: Executor) =
        change scaling factor gradients executor

    /// Multiplies gradients in place so that their norm, which is given, is at most maxNorm.
    let withNorm (maxNorm: double) (total: double) (gradients: Gradients) =
        checkNorm maxNorm
        scale (coefficient maxNorm total) gradients Executor.Team

    /// Multiplies gradients in place so that their norm is at most maxNorm; returns the norm that they had.
    let byNorm (maxNorm: double) (order: double) (gradients: Gradients) =
        checkNorm maxNorm
        let total = totalNorm order gradients
        withNorm maxNorm total gradients
        total

    let internal clamp (limit: double) (gradients: Gradients) (executor: Executor) =
        change clamping limit gradients executor

    /// Clamps every element to [-limit, limit], in place. NaN stays.
    let byValue (limit: double) (gradients: Gradients) =
        checkValue limit
        clamp limit gradients Executor.Team

    /// The same gradients in memory of their own, to be clipped without touching these.
    let copy (gradients: Gradients) =
        Argument.notNull "gradients" gradients

        Gradients.Of
            [
                for row in 0 .. gradients.Count - 1 do
                    let gradient = gradients[row]

                    match gradient.Kind with
                    | GradientKind.Dense -> Gradient.OfDense(gradient.Values.Copy())
                    | GradientKind.Sparse -> Gradient.OfSparse(gradient.Rows.Copy(), gradient.Values.Copy())
                    | _ -> Gradient.Absent
            ]
