namespace Optim.Core

open Optim.Kernels

/// AdamW (Loshchilov and Hutter, arXiv:1711.05101): Adam whose weight decay shrinks the parameter, x = x (1 - lr wd), and
/// leaves the moments alone. It is Adam's formula with the switch on.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module AdamW =
    /// PyTorch's.
    let defaults =
        { Adam.defaults with
            WeightDecay = 1e-2
            DecoupledWeightDecay = true
        }

    let private options =
        Adam.options
        |> List.map (fun field ->
            if field.Name = "decoupled_weight_decay" then
                field
                |> Field.requiring "it must be True; with False it is Adam" _.DecoupledWeightDecay
                |> Field.fixedByRule
            else
                field)

    /// The rule.
    let rule =
        Rule.elementWise<AdamOptions, AdamFormula> "AdamW" defaults options Adam.columns Adam.arithmetic
        |> Rule.declare Adam.declarations

    /// The options, or all that is wrong with them.
    let validate options = Rule.validate rule options

    /// The state before the first step.
    let init options parameters = Rule.init rule options parameters

    /// A step in place; the state that is given is spent.
    let step options parameters gradients state =
        Rule.step rule options parameters gradients state

    /// A step that touches nothing that it is given.
    let pureStep options parameters gradients state =
        Rule.pureStep rule options parameters gradients state
