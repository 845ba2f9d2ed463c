namespace Optim.Laws

/// A defect that an optimizer was published with.
type KnownDefect =
    {
        /// The library, and what of it.
        Where: string
        /// What was wrong.
        Defect: string
        /// The laws that find it.
        Laws: string list
    }

    override this.ToString() = this.Where + ": " + this.Defect

/// Defects that optimizers were published with, and which laws find them: a rule that breaks such a law may have the same one.
[<RequireQualifiedAccess>]
module KnownDefects =
    /// All of them, those of schedulers left out.
    let all: KnownDefect list =
        [
            "PyTorch 1.13 NAdam (pull request 92699), TorchSharp NAdam (1155)",
            "a factor too many in the product of momenta that is ahead",
            [ "A12"; "F1"; "O1" ]
            "TorchSharp NAdam (1154)", "the product of momenta is not initialised", [ "A12"; "O1"; "S2" ]
            "PyTorch RAdam (92551)", "eps is ignored in foreach", [ "F1" ]
            "PyTorch Adam (78807)", "amsgrad's maximum is not written back in foreach", [ "F1"; "A8" ]
            "TorchSharp AdamW (1014)", "state that was moved to another device is kept nowhere", [ "S2"; "M0" ]
            "TorchSharp (1300)", "a missing gradient crashes, or is stepped by, with maximize", [ "E5"; "E6" ]
            "Optimisers.jl AdamW (182)", "weight decay is not multiplied by lr", [ "D2"; "D3"; "U4"; "O1" ]
            "Furnace SGD", "the first momentum is counted twice", [ "A3"; "O1" ]
            "Optimisers.jl Lion", "the two coefficients of the momentum are exchanged", [ "O1"; "O3" ]
            "mlx Adam", "no bias correction, as its default", [ "A1"; "A2"; "A4"; "U6"; "U7"; "O1" ]
            "pytorch_optimizer AdamG (308)", "the bias correction takes one off twice", [ "A1"; "A2"; "A4"; "U6"; "U7"; "O1" ]
            "pytorch_optimizer AdamP (480)", "eps is added after the reciprocal root", [ "A1"; "G1"; "O1" ]
            "Optimisers.jl (167), optax (1754)", "eps is lost in half precision, and 0 is divided by 0", [ "G1"; "U2" ]
            "burn (5130)", "state of other names is dropped, and moments begin anew", [ "S2"; "S3" ]
            "timm (2532)", "an option is saved, and not read when it is loaded", [ "S1"; "P3" ]
            "optax inject_hyperparams (1532)", "what is wrapped goes another way than what is not", [ "W1" ]
            "PyTorch (162359)", "initial_lr and lr share memory", [ "E7" ]
            "Keras (19990), optax MultiSteps (1567)", "accumulated batches count as steps, for decay or for the step count", [ "W3" ]
        ]
        |> List.map (fun (where, defect, laws) ->
            {
                Where = where
                Defect = defect
                Laws = laws
            })

    /// Those that the law of this id finds.
    [<CompiledName("FoundBy")>]
    let foundBy (law: string) =
        all |> List.filter (fun known -> List.contains law known.Laws)
