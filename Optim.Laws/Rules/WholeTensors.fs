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

/// T: rules that work on whole tensors (RuleScope.Tensors, RuleScope.Matrices), A15 and A16 among them.
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

    let private statement id says about lengths holds =
        Statement.forAll id says about (generator lengths) shorter holds

    let private shape run = [| int64 run.Rows; int64 run.Columns |]

    /// The end of a run whose parameter and gradients lie as they are laid.
    let private finalBy (subject: Subject) layParameter layGradient run =
        let parameters: Parameters = Parameters.Of [ layParameter run.Start ]

        let step state gradient =
            subject.Step run.Options parameters (Gradients.OfDense [ layGradient gradient ]) state

        let state = Array.fold step (subject.Init run.Options parameters) run.History

        Snapshot.read run.DType parameters state

    let private final subject run =
        let lay = Tensor.shaped (shape run) run.DType
        finalBy subject lay lay run

    let private ordinary = [ 1, 1; 1, 40; 40, 1; 17, 33; 64, 16 ]

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

    let private transposed rows columns (values: float[]) =
        Array.init values.Length (fun at -> values[at % rows * columns + at / rows])

    /// The largest of some numbers, without signs.
    let private largest (values: float[]) =
        values |> Array.map abs |> Array.fold max 0.0

    /// A15: rows and columns are treated alike.
    let adafactorTransposed =
        statement
            "A15"
            "Adafactor's step of a transposed matrix is the transposed step"
            (fun rule -> rule.Name = "Adafactor")
            ordinary
            (fun subject run ->
                let turn = transposed run.Rows run.Columns

                let other =
                    final
                        subject
                        { run with
                            Rows = run.Columns
                            Columns = run.Rows
                            Start = turn run.Start
                            History = run.History |> Array.map turn
                        }

                let expected = (final subject run).Theta[0]

                Comparator.arrays
                    (Comparator.within (Tolerances.allowed "A15") (largest expected))
                    run.DType
                    (turn expected)
                    other.Theta[0]
                |> Verdict.tellingIf (run.Rows > 1 && run.Columns > 1))

    /// A15: where a factored second moment is the full one.
    let adafactorRankOne =
        statement
            "A15"
            "where squares have rank one, Adafactor's first step is that of full second moments: by signs"
            (fun rule -> rule.Name = "Adafactor")
            ordinary
            (fun subject run ->
                let random = Random run.Seed

                let draw count =
                    Array.init count (fun _ -> Palette.logUniform 2 8 random run.DType)

                let rows, columns = draw run.Rows, draw run.Columns

                let gradient =
                    Array.init run.Start.Length (fun at -> Number.round run.DType (rows[at / run.Columns] * columns[at % run.Columns]))

                let number name =
                    Options.number subject.Rule name run.Options

                let size = sqrt (Array.averageBy (fun x -> x * x) run.Start)

                let expected =
                    Array.map2
                        (fun p g ->
                            p * (1.0 - number "lr" * number "weight_decay")
                            - max 1e-3 size * min (number "lr") 1.0 * float (sign g))
                        run.Start
                        gradient

                let found = final subject { run with History = [| gradient |] }

                Comparator.arrays
                    (Comparator.within (Tolerances.allowed "A15") (largest run.Start))
                    run.DType
                    (Array.map (Number.round run.DType) expected)
                    found.Theta[0])

    /// The orthogonal direction that Muon makes of a matrix: the first step from zero with a rate of one.
    let private orthogonal (subject: Subject) dtype rows columns (matrix: float[]) =
        let options =
            Options.set
                [
                    "lr", Options.ofNumber (1.0 / sqrt (max 1.0 (float rows / float columns)))
                    "weight_decay", Options.ofNumber 0.0
                    "momentum", Options.ofNumber 0.0
                    "nesterov", Options.ofFlag false
                ]
                subject.Rule
                subject.Rule.Defaults

        let run =
            {
                DType = dtype
                Rows = rows
                Columns = columns
                Options = options
                Start = Array.zeroCreate matrix.Length
                History = [| matrix |]
                Seed = 0
            }

        (final subject run).Theta[0] |> Array.map (fun x -> -x)

    let private product rows inner columns (a: float[]) (b: float[]) =
        Array.init (rows * columns) (fun at ->
            let mutable sum = 0.0

            for k in 0 .. inner - 1 do
                sum <- sum + a[at / columns * inner + k] * b[k * columns + at % columns]

            sum)

    /// An orthogonal matrix: a product of reflections.
    let private rotation (random: Random) size =
        let mutable whole =
            Array.init (size * size) (fun at -> if at / size = at % size then 1.0 else 0.0)

        for _ in 1..size do
            let v = Array.init size (fun _ -> random.NextDouble() - 0.5)
            let norm = Array.sumBy (fun x -> x * x) v

            let mirror =
                Array.init (size * size) (fun at ->
                    (if at / size = at % size then 1.0 else 0.0)
                    - 2.0 * v[at / size] * v[at % size] / norm)

            whole <- product size size size whole mirror

        whole

    /// A16: what Newton and Schulz's iteration commutes with.
    let muon =
        statement
            "A16"
            "Muon's direction is odd, turns with its matrix, whichever way that is turned, and does not depend on its scale"
            (fun rule -> rule.Name = "Muon")
            [ 1, 1; 4, 4; 16, 3; 3, 16; 16, 16 ]
            (fun subject run ->
                let rows, columns = min run.Rows 16, min run.Columns 16
                let random = Random run.Seed

                let matrix =
                    Array.init (rows * columns) (fun _ -> Number.round run.DType (random.NextDouble() - 0.5))

                let orthogonal = orthogonal subject run.DType
                let direction = orthogonal rows columns matrix

                let close allowed what expected actual =
                    Array.forall2 (fun (a: float) b -> abs (a - b) <= allowed) expected actual
                    |> Verdict.require (fun () ->
                        sprintf "%s: off by %g" what (Array.fold2 (fun most (a: float) b -> max most (abs (a - b))) 0.0 expected actual))

                let near = if run.DType = DType.Float32 then 1e-5 else 1e-13

                let left, right = rotation random rows, rotation random columns

                let turned (values: float[]) =
                    product rows columns columns (product rows rows columns left values) right

                Verdict.all
                    [
                        orthogonal rows columns (Array.map (fun x -> -x) matrix)
                        |> Array.map (fun x -> -x)
                        |> Comparator.arrays Comparator.bitButZeros run.DType direction
                        |> Verdict.where "odd"
                        orthogonal columns rows (transposed rows columns matrix)
                        |> close near "transposed" (transposed rows columns direction)
                        orthogonal rows columns (turned matrix |> Array.map (Number.round run.DType))
                        |> close (20.0 * near) "rotated" (turned direction)
                        orthogonal rows columns (Array.map (fun x -> 1024.0 * x) matrix)
                        |> close 1e-6 "scaled" direction
                        (Array.sumBy (fun x -> x * x) direction <= 1.3 * float (min rows columns))
                        |> Verdict.require (fun () -> "singular values beyond 1.13")
                        (largest direction > 0.0) |> Verdict.require (fun () -> "nothing came of it")
                    ])

    /// The laws of this family.
    let all =
        [
            settings
            strides
            company
            resume
            adafactorTransposed
            adafactorRankOne
            muon
        ]
