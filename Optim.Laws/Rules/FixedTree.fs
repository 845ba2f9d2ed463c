namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Kernels

/// F6: numbers that are made from all elements of a tensor.
[<RequireQualifiedAccess>]
module FixedTree =
    /// Makes a number from a tensor's elements, on an executor.
    type Reduce = Executor -> TensorView -> float

    /// Elements that begin at an offset, and how they are gone through.
    [<NoComparison>]
    type Case =
        {
            DType: DType
            Values: float[]
            Offset: int
            Width: Width
            Threads: int
        }

        override this.ToString() =
            sprintf
                "%d elements of %s at offset %d, %O, %d threads"
                this.Values.Length
                (this.DType.Name())
                this.Offset
                this.Width
                this.Threads

    let private id = "F6"

    let private says =
        "neither width nor threads nor executor nor address change a bit of a reduction"

    let private generator =
        gen {
            let! dtype = Generators.dtype

            let! length =
                Gen.frequency
                    [
                        2, Generators.length
                        2, Gen.elements [ 4095; 4096; 4097; 8191; 8192; 12_289 ]
                        3, Gen.choose (8_000, 60_000)
                    ]

            let! values = Generators.array Palette.ordinary dtype length
            let! offset = Gen.choose (0, 16)

            let! width =
                Gen.elements [ Width.Single; Width.Bits128; Width.Bits256; Width.Bits512 ]

            let! threads = Gen.choose (1, 8)

            return
                {
                    DType = dtype
                    Values = values
                    Offset = offset
                    Width = width
                    Threads = threads
                }
        }

    let private shrink case =
        Shrinkers.shorter case.Values
        |> Seq.map (fun values -> { case with Values = values })

    let private holds (reduce: Reduce) case =
        let expected =
            Setting.withWidth Width.Single (fun () ->
                Setting.withThreads 1 (fun () -> reduce Executor.Caller (Tensor.ofFloats case.DType case.Values)))

        let actual =
            Setting.withWidth case.Width (fun () ->
                Setting.withThreads case.Threads (fun () ->
                    // The team begins to share once calls come close together.
                    [
                        for _ in 1..6 -> reduce Executor.Team (Memory.offset case.Offset case.DType case.Values)
                    ]))

        actual
        |> List.map (fun actual -> Comparator.arrays Comparator.bit DType.Float64 [| expected |] [| actual |])
        |> Verdict.all
        |> Verdict.tellingIf (case.Values.Length > 1)

    /// Tries the law on so many cases, from this seed.
    let trial (reduce: Reduce) (cases: int) (seed: uint64) =
        Statement.trial id cases seed generator (fun case -> shrink case) (holds reduce)

    /// The law of a reduction that has a name.
    let law (name: string) (reduce: Reduce) : Law =
        Law.make name id says true (trial reduce)
