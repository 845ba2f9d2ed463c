namespace Optim.Laws

open System
open Optim.Core
open Optim.Kernels

/// A15 and A16: what Adafactor and Muon make of a matrix.
[<RequireQualifiedAccess>]
module Matrices =
    let private transposed rows columns (values: float[]) =
        Array.init values.Length (fun at -> values[at % rows * columns + at / rows])

    /// The largest of some numbers, without signs.
    let private largest (values: float[]) =
        values |> Array.map abs |> Array.fold max 0.0

    /// A15: rows and columns are treated alike.
    let adafactorTransposed =
        WholeTensors.statement
            "A15"
            "Adafactor's step of a transposed matrix is the transposed step"
            (fun rule -> rule.Name = "Adafactor")
            WholeTensors.ordinary
            (fun subject run ->
                let turn = transposed run.Rows run.Columns

                let other =
                    WholeTensors.final
                        subject
                        { run with
                            Rows = run.Columns
                            Columns = run.Rows
                            Start = turn run.Start
                            History = run.History |> Array.map turn
                        }

                let expected = (WholeTensors.final subject run).Theta[0]

                Comparator.arrays
                    (Comparator.within (Tolerances.allowed "A15") (largest expected))
                    run.DType
                    (turn expected)
                    other.Theta[0]
                |> Verdict.tellingIf (run.Rows > 1 && run.Columns > 1))

    /// A15: where a factored second moment is the full one.
    let adafactorRankOne =
        WholeTensors.statement
            "A15"
            "where squares have rank one, Adafactor's first step is that of full second moments: by signs"
            (fun rule -> rule.Name = "Adafactor")
            WholeTensors.ordinary
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

                let found = WholeTensors.final subject { run with History = [| gradient |] }

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

        (WholeTensors.final subject run).Theta[0] |> Array.map (fun x -> -x)

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
        WholeTensors.statement
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
    let all = [ adafactorTransposed; adafactorRankOne; muon ]
