namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// S7 and S8: state dicts as PyTorch writes them, and wrote them.
[<RequireQualifiedAccess>]
module PyTorchDicts =
    /// What PyTorch writes for a parameter, in its order.
    let private columns: (string * string list) list =
        [
            "SGD", [ "momentum_buffer" ]
            "Adam", [ "step"; "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ]
            "AdamW", [ "step"; "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ]
            "Adadelta", [ "step"; "square_avg"; "acc_delta" ]
            "Adagrad", [ "step"; "sum" ]
            "Adamax", [ "step"; "exp_avg"; "exp_inf" ]
            "ASGD", [ "step"; "eta"; "mu"; "ax" ]
            "NAdam", [ "step"; "mu_product"; "exp_avg"; "exp_avg_sq" ]
            "RAdam", [ "step"; "exp_avg"; "exp_avg_sq" ]
            "RMSprop", [ "step"; "square_avg"; "momentum_buffer"; "grad_avg" ]
            "Rprop", [ "step"; "prev"; "step_size" ]
        ]

    /// What PyTorch writes for a group, in its order.
    let private keys: (string * string) list =
        let adam =
            "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused decoupled_weight_decay"

        [
            "SGD", "lr momentum dampening weight_decay nesterov maximize foreach differentiable fused"
            "Adam", adam
            "AdamW", adam
            "Adadelta", "lr rho eps weight_decay maximize capturable foreach differentiable"
            "Adagrad", "lr lr_decay eps weight_decay initial_accumulator_value foreach maximize differentiable fused"
            "Adamax", "lr betas eps weight_decay foreach maximize differentiable capturable"
            "ASGD", "lr lambd alpha t0 weight_decay foreach maximize differentiable capturable"
            "NAdam", "lr betas eps weight_decay momentum_decay decoupled_weight_decay maximize foreach capturable differentiable"
            "RAdam", "lr betas eps weight_decay maximize foreach capturable decoupled_weight_decay differentiable"
            "RMSprop", "lr momentum alpha eps centered weight_decay capturable foreach maximize differentiable"
            "Rprop", "lr etas step_sizes foreach maximize differentiable capturable"
        ]

    let private known (rule: Rule) =
        List.exists (fun (name, _) -> name = rule.Name) columns

    /// A dict as PyTorch writes it after some steps, with every column that the rule can have.
    let private written (rule: Rule) (s: Scenario) =
        let dict = StateDict()

        let full =
            [
                "momentum", Options.ofNumber 0.9
                "amsgrad", Options.ofFlag true
                "centered", Options.ofFlag true
            ]

        let options = Options.set full rule rule.Defaults
        let group = GroupState()

        for key in (keys |> List.find (fun (name, _) -> name = rule.Name) |> snd).Split ' ' do
            group[key] <- rule.Read(options, key)

        s.Start
        |> Array.iteri (fun k values ->
            let state = ParameterState()

            for column in columns |> List.find (fun (name, _) -> name = rule.Name) |> snd do
                state[column] <-
                    Tree.Tensor(
                        if column = "step" then
                            TensorView.Of(ReadOnlySpan [| 7f |], ReadOnlySpan<int64>())
                        elif rule.ScalarNames.Contains column then
                            // PyTorch has these in float32; here they are kept, and written, in float64.
                            TensorView.Of(ReadOnlySpan [| 0.5 |], ReadOnlySpan<int64>())
                        else
                            Tensor.ofFloats s.DType (values |> Array.map (fun x -> abs x + float column.Length))
                    )

            dict.State[k] <- state
            group.Params.Add k)

        dict.ParamGroups.Add group
        dict

    let private unnamed (subject: Subject) (s: Scenario) =
        let parameters =
            s.Start
            |> Array.map (fun values -> Param.Of(null, Shapes.suit s.Rule (Tensor.ofFloats s.DType values)))

        Host.optimizer subject subject.Rule.Defaults parameters

    /// S7: PyTorch's dicts.
    let pytorch =
        Statement.about
            "S7"
            "a state dict as PyTorch writes it comes back with its keys, dtypes and values"
            known
            Resume.several
            (fun subject s ->
                let dict = written subject.Rule s
                let optimizer = unnamed subject s
                subject.Shell.Load optimizer dict
                Saved.compare dict (subject.Shell.Save optimizer))

    /// S8: dicts of before an option was there.
    let older =
        Statement.withDraw
            "S8"
            "a state dict without a newer flag loads with the flag's default"
            known
            Resume.several
            (Gen.choose (0, 99))
            (fun subject which s ->
                let rule = subject.Rule
                let dict = written rule s

                let newer =
                    dict.ParamGroups[0].Keys
                    |> Seq.filter (fun key ->
                        match dict.ParamGroups[0][key] with
                        | OptionValue.Bool _
                        | OptionValue.None -> true
                        | _ -> false)
                    |> Seq.toArray

                let missing = newer[which % newer.Length]
                let expected = subject.Shell.Clone dict
                dict.ParamGroups[0].Remove missing |> ignore
                expected.ParamGroups[0][missing] <- rule.Read(rule.Defaults, missing)
                let optimizer = unnamed subject s

                // What the optimizer had there does not stay.
                match rule.Read(rule.Defaults, missing) with
                | OptionValue.Bool flag when missing <> "decoupled_weight_decay" && missing <> "nesterov" ->
                    subject.Shell.SetOption optimizer.ParamGroups[0] missing (Options.ofFlag (not flag))
                | _ -> ()

                subject.Shell.Load optimizer dict
                Saved.compare expected (subject.Shell.Save optimizer))

    /// The laws of this family.
    let all = [ pytorch; older ]
