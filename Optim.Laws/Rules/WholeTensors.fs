namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// A few steps of one matrix, by a rule whose step of an element depends on the whole tensor.
type MatrixRun =
    {
        DType: DType
        Rows: int
        Columns: int
        Options: IOptimizerOptions
        Start: float[]
        History: float[][]
        /// A draw of numbers beside, for what a law wants to choose.
        Seed: int
    }

    override this.ToString() =
        sprintf "%d x %d of %s, %d steps, seed %d" this.Rows this.Columns (this.DType.Name()) this.History.Length this.Seed

/// T: rules that work on whole tensors (RuleScope.Tensors, RuleScope.Matrices).
[<RequireQualifiedAccess>]
module WholeTensors =
    let private wholes (rule: Rule) = rule.Scope <> RuleScope.Elements

    let private generator (lengths: (int * int) list) (rule: Rule) =
        gen {
            let! dtype = Generators.dtype

            let! rows, columns =
                Gen.oneof [ Gen.elements lengths; Gen.zip (Gen.choose (1, 24)) (Gen.choose (1, 24)) ]

            let! steps = Gen.choose (1, 3)
            let! lr = Gen.elements [ 1e-3; 0.02; 0.3 ]
            let! decay = Gen.elements [ 0.0; 0.1 ]
            let! start = Generators.array (Palette.logUniform -3 1) dtype (rows * columns)

            let! history =
                Gen.listOfLength steps (Generators.array (Palette.logUniform -6 4) dtype (rows * columns))

            let! seed = Gen.choose (0, 1_000_000)

            return
                {
                    DType = dtype
                    Rows = rows
                    Columns = columns
                    Options = Options.set [ "lr", Options.ofNumber lr; "weight_decay", Options.ofNumber decay ] rule rule.Defaults
                    Start = start
                    History = List.toArray history
                    Seed = seed
                }
        }

    let private shorter _ run =
        seq {
            if run.History.Length > 1 then
                { run with
                    History = Array.truncate (run.History.Length - 1) run.History
                }
        }

    let internal statement id says about lengths holds =
        Statement.forAll id says about (generator lengths) shorter holds

    let private shape run = [| int64 run.Rows; int64 run.Columns |]

    /// The end of a run whose parameter and gradients lie as they are laid.
    let private finalBy (subject: Subject) layParameter layGradient run =
        let parameters: Parameters = Parameters.Of [ layParameter run.Start ]

        let step state gradient =
            subject.Step run.Options parameters (Gradients.OfDense [ layGradient gradient ]) state

        let state = Array.fold step (subject.Init run.Options parameters) run.History

        Snapshot.read run.DType parameters state

    let internal final subject run =
        let lay = Tensor.shaped (shape run) run.DType
        finalBy subject lay lay run

    let internal ordinary = [ 1, 1; 1, 40; 40, 1; 17, 33; 64, 16 ]

    /// T1: settings.
    let settings =
        statement
            "T1"
            "neither width nor number of threads nor address change a bit of a step of a matrix"
            wholes
            [ 40, 70; 96, 64; 130, 60 ]
            (fun subject run ->
                let expected =
                    Setting.withWidth Width.Single (fun () -> Setting.withThreads 1 (fun () -> final subject run))

                let at offset values =
                    let flat = Memory.offset offset run.DType values
                    TensorView(flat.Address, Layout.Contiguous(run.DType, ReadOnlySpan(shape run)), flat.Owner)

                [
                    for width in [ Width.Bits128; Width.Bits256; Width.Bits512 ] do
                        for threads in [ 1; 3 ] ->
                            Setting.withWidth width (fun () ->
                                Setting.withThreads threads (fun () ->
                                    finalBy subject (at (run.Seed % 7)) (at (run.Seed % 5)) run
                                    |> Snapshot.compare Comparator.bit expected))
                ]
                |> Verdict.all)
        |> Statement.fewer 15
        |> Statement.alone

    /// T2: how matrices lie.
    let strides =
        statement "T2" "a step of a matrix depends on its elements, not on how they lie in memory" wholes ordinary (fun subject run ->
            let lay way = Memory.lay way (shape run) run.DType

            let expected = final subject run

            [
                for parameter in 0..3 do
                    for gradient in 0..3 ->
                        finalBy subject (lay parameter) (lay gradient) run
                        |> Snapshot.compare Comparator.bit expected
            ]
            |> Verdict.all
            |> Verdict.tellingIf (run.Rows > 1 && run.Columns > 1))

    /// T3: company.
    let company =
        statement "T3" "a matrix goes the same way in any company, and without a gradient it stays" wholes ordinary (fun subject run ->
            let mate = Array.map (fun x -> 0.5 * x + 1.0) run.Start

            let parameters =
                Parameters.Of
                    [
                        Tensor.shaped (shape run) run.DType mate
                        Tensor.shaped (shape run) run.DType run.Start
                    ]

            let step state gradient =
                let gradients =
                    [
                        Gradient.Absent
                        Gradient.OfDense(Tensor.shaped (shape run) run.DType gradient)
                    ]

                subject.Step run.Options parameters (Gradients.Of gradients) state

            let state = Array.fold step (subject.Init run.Options parameters) run.History

            let found = Snapshot.read run.DType parameters state
            let expected = final subject run

            Verdict.all
                [
                    Comparator.arrays Comparator.bit run.DType mate found.Theta[0]
                    Comparator.arrays Comparator.bit run.DType expected.Theta[0] found.Theta[1]
                    (state.Count 0 = 0L)
                    |> Verdict.require (fun () -> "a step was counted without a gradient")
                ])

    /// T4: resume.
    let resume =
        statement "T4" "steps of a matrix, save, load and more steps are all the steps at once" wholes ordinary (fun subject run ->
            let options =
                [
                    for name in subject.Rule.OptionNames -> name, subject.Rule.Read(run.Options, name)
                ]

            let start values =
                let parameter = Param.Of("w", Tensor.shaped (shape run) run.DType values)

                let optimizer =
                    subject.Shell.Open subject.Rule options [ ParameterGroup [ parameter :> IParameter ] ]

                struct (parameter, optimizer)

            let go (parameter: Param) optimizer (gradients: float[][]) =
                for gradient in gradients do
                    if run.DType = DType.Float32 then
                        parameter.SetGradient(ReadOnlySpan(Array.map float32 gradient))
                    else
                        parameter.SetGradient(ReadOnlySpan gradient)

                    subject.Shell.Step optimizer

            let struct (whole, optimizer) = start run.Start
            go whole optimizer run.History
            let at = run.Seed % (run.History.Length + 1)
            let struct (first, before) = start run.Start
            go first before run.History[.. at - 1]
            let struct (second, after) = start (first.View.ToDoubles())
            subject.Shell.Load after (subject.Shell.Clone(subject.Shell.Save before))
            go second after run.History[at..]

            Comparator.arrays Comparator.bit run.DType (whole.View.ToDoubles()) (second.View.ToDoubles())
            |> Verdict.tellingIf (at > 0 && at < run.History.Length))

    /// The laws of this family.
    let all = [ settings; strides; company; resume ]
