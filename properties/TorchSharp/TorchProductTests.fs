/// libtorch's matrix products, where a rule is told to use a provider's.
module TorchProductTests

open System
open Expecto
open Optim
open Optim.Kernels
open Kit

let private step product =
    let results =
        [
            for rows, columns in [ 24L, 40L; 40L, 24L; 16L, 16L ] ->
                let count = int (rows * columns)
                let p = param "w" DType.Float64 [| rows; columns |] (noise 1 count)

                let optimizer =
                    optimizer "Muon" [ "lr", Reference.Number 0.1; "product", Reference.Text product ] [ p ]

                setGradient p (Some(noise 2 count))
                optimizer.Step()
                values p
        ]

    Array.concat results

let tests =
    [
        test "Muon with libtorch's products goes the way of ours; without a provider it is refused, and nothing has moved" {
            let before = MatrixProducts.Provider

            try
                MatrixProducts.Provider <- null

                refuses<InvalidOperationException> "no provider" [ "product"; "provider"; "TorchProducts.Register" ] (fun () ->
                    step "provider" |> ignore)

                TorchProducts.Register()
                let own, theirs = step "own", step "provider"

                for i in 0 .. own.Length - 1 do
                    Expect.floatClose { absolute = 1e-12; relative = 0.0 } theirs[i] own[i] (string i)
            finally
                MatrixProducts.Provider <- before
        }
    ]
