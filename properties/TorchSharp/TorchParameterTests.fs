/// Which tensor is which parameter, and which tensors and gradients are refused.
module TorchParameterTests

open System
open Expecto
open TorchSharp
open Optim
open Kit
open TorchKit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

// Which tensor is which

let private identity =
    [
        test "two wrappers of one tensor are one parameter" {
            let embedding = torch.nn.Embedding(4L, 3L)
            let first, second = weight embedding, weight embedding
            Expect.isFalse (obj.ReferenceEquals(first, second)) "native modules make wrappers as they are asked"

            let one, two: IParameter * IParameter =
                TorchParameter("a", first), TorchParameter("b", second)

            Expect.equal one.Identity two.Identity "identities"
            let optimizer = SGD(all [ one ], lr = 0.1)

            refuses<ArgumentException> "the same tensor again" [ "b" ] (fun () -> optimizer.AddParamGroup(ParameterGroup [ two ]))

            let other: IParameter = TorchParameter("c", weight (torch.nn.Embedding(4L, 3L)))
            Expect.notEqual one.Identity other.Identity "another tensor"
            optimizer.AddParamGroup(ParameterGroup [ other ])
        }

        test "a look at a parameter on any device makes nothing while it stays as it is" {
            for device in [ torch.CPU; torch.META ] do
                let tensor = torch.zeros([| 3L; 2L |], device = device).requires_grad_ true
                tensor.grad <- torch.zeros ([| 3L; 2L |], device = device)
                let parameter = TorchParameter("w", tensor)
                let data, gradients = [| parameter.Data |], [| Core.Gradient.Absent |]

                let look () =
                    parameter.Refresh(&data[0], &gradients[0])

                look ()
                let before, layout = gradients[0].Values.Layout, data[0].Layout
                Expect.equal (bytesOf look) 0L $"{device}: bytes"
                Expect.isTrue (obj.ReferenceEquals(data[0].Layout, layout)) $"{device}: the same layout"
                Expect.isTrue (obj.ReferenceEquals(gradients[0].Values.Layout, before)) $"{device}: the gradient's"
        }

        test "state is found by any wrapper" {
            let embedding = torch.nn.Embedding(4L, 3L)
            let optimizer = Adam(all (embedding.NamedParameters()), lr = 0.1)
            embedding.call(torch.tensor [| 1L |]).sum().backward()
            optimizer.Step()
            let state = optimizer.State(TorchParameter("again", weight embedding))
            Expect.isTrue (state.ContainsKey "exp_avg") "exp_avg"
        }

        test "tied parameters come once, under their first name" {
            let embedding, decoder =
                torch.nn.Embedding(4L, 3L), torch.nn.Linear(3L, 4L, hasBias = false)

            decoder.weight <- nonNull embedding.weight

            let model =
                torch.nn.Sequential(layer "embedding" embedding, layer "decoder" decoder)

            Expect.hasLength (model.named_parameters () |> Seq.toList) 2 "by TorchSharp, which goes by wrappers"
            Expect.equal [ for p in model.NamedParameters() -> p.Name ] [ "embedding.weight" ] "with names"
            Expect.hasLength (model.Parameters()) 1 "without"
            let before = values (weight embedding)
            let optimizer = SGD(all (model.NamedParameters()), lr = 0.5)
            model.call(torch.tensor [| 2L |]).sum().backward()
            let gradient = values (gradient (weight embedding))
            optimizer.Step()
            equal (values decoder.weight) (Array.map2 (fun w g -> w - 0.5f * g) before gradient) "moved once"
        }

        test "names and order are the module's" {
            let model = network ()
            let names = [ for p in model.NamedParameters() -> p.Name ]
            Expect.equal names [ "first.weight"; "first.bias"; "last.weight"; "last.bias" ] "names"
            Expect.all (model.Parameters()) (fun p -> isNull p.Name) "no names"
            Expect.isEmpty (model.NamedParameters(recurse = false)) "of the children only"
        }

        test "null, empty and default arguments: the public members answer, or say in words what is wrong" {
            let tensor () =
                let tensor = leaf [ 3L ] [| 1f; 2f; 3f |]
                tensor.grad <- constant [ 3L ] [| 1f; 2f; 3f |]
                tensor

            let linear () = torch.nn.Linear(3L, 3L) :> Net

            let values: (Type * (unit -> objnull)) list =
                [
                    typeof<Tensor>, (fun () -> box (tensor ()))
                    typeof<torch.nn.Module>, (fun () -> box (linear ()))
                    typeof<Net>, (fun () -> box (linear ()))
                    typeof<Modules.Parameter>, (fun () -> box (new Modules.Parameter(constant [ 3L ] [| 1f; 2f; 3f |])))
                    typeof<IParameter>, (fun () -> box (TorchParameter("w", tensor ())))
                    typeof<IParameterOrGroup>, (fun () -> box (TorchParameter("w", tensor ())))
                ]

            // Other tests choose products themselves.
            let members =
                HostileCalls.check [ typeof<Torch>.Assembly ] values [ "TorchProducts.Register" ]

            Expect.isGreaterThan members 60 "members that were called"
        }

        test "a prefix sets the names of several modules apart" {
            let first, second = network (), network ()

            refuses<ArgumentException> "the same names twice" [ "'first.weight'"; "prefix" ] (fun () ->
                SGD(
                    [
                        ParameterGroup(first.NamedParameters()) :> IParameterOrGroup
                        ParameterGroup(second.NamedParameters())
                    ]
                )
                |> ignore)

            let optimizer =
                SGD(
                    [
                        ParameterGroup(first.NamedParameters "base") :> IParameterOrGroup
                        ParameterGroup(second.NamedParameters(prefix = "classifier"))
                    ]
                )

            let names =
                [
                    for group in optimizer.ParamGroups -> [ for p in group.Parameters -> p.Name ]
                ]

            let own = [ "first.weight"; "first.bias"; "last.weight"; "last.bias" ]
            Expect.equal names [ List.map ((+) "base.") own; List.map ((+) "classifier.") own ] "names"
            refuses<ArgumentNullException> "null" [ "prefix" ] (fun () -> first.NamedParameters(prefix = null) |> ignore)
        }

        test "tensors that share memory are refused by the kernels and by libtorch's operators, and nothing moves" {
            for executor in [ null; Torch.Operators ] do
                let whole = constant [ 64L ] (floats 3 64)

                let view start =
                    whole.narrow(0L, start, 8L).detach().requires_grad_ true

                let make (list: (string * Tensor) list) =
                    let list = [| for name, tensor in list -> struct (name, tensor) |]

                    SGD(
                        all (
                            if isNull executor then
                                Torch.Parameters list
                            else
                                Torch.Parameters(executor, list)
                        ),
                        lr = 0.5
                    )

                refuses<ArgumentException> "parameters" [ "'a'"; "'b'"; "share memory" ] (fun () ->
                    make [ "a", view 0L; "b", view 7L ] |> ignore)

                refuses<ArgumentException> "the same memory twice" [ "'a'"; "'b'"; "same tensor" ] (fun () ->
                    make [ "a", view 0L; "b", view 0L ] |> ignore)

                let a, b = view 0L, view 16L
                let optimizer = make [ "a", a; "b", b ]
                a.grad <- whole.narrow (0L, 40L, 8L)
                b.grad <- whole.narrow (0L, 7L, 8L)
                let before = values whole
                refuses<ArgumentException> "a gradient" [ "gradient of parameter 'b'"; "'a'" ] (fun () -> optimizer.Step())
                equal (values whole) before "nothing moves"
                b.grad <- whole.narrow (0L, 16L, 8L)
                optimizer.Step()
                equal (values b) [| for x in before[16..23] -> 0.5f * x |] "its own gradient"
        }

        test "frozen parameters are accepted and skipped" {
            let frozen, free =
                (leaf [ 2L ] [| 1f; 2f |]).requires_grad_ false, leaf [ 2L ] [| 1f; 2f |]

            let list = named [ "frozen", frozen; "free", free ]
            let optimizer = Adam(all list, lr = 0.5)
            Expect.isFalse (Seq.head list).RequiresGradient "frozen"
            Expect.isTrue (Seq.last list).RequiresGradient "free"
            (frozen * free).sum().backward()
            optimizer.Step()
            equal (values frozen) [| 1f; 2f |] "frozen"
            equal (values free) [| 0.5f; 1.5f |] "free"
            Expect.isFalse (optimizer.State(Seq.head list).ContainsKey "exp_avg") "no state for what is frozen"
            frozen.requires_grad_ true |> ignore
            optimizer.ZeroGrad()
            (frozen * free).sum().backward()
            optimizer.Step()
            Expect.all (Seq.zip (values frozen) [ 0.5f; 1.5f ]) (fun (x, y) -> abs (x - y) < 1e-6f) "thawed"
        }

        test "a gradient left on a parameter that was frozen since is passed over" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let optimizer = plain [ "w", w ]
            w.grad <- torch.ones [| 2L |]
            w.requires_grad_ false |> ignore
            optimizer.Step()
            equal (values w) [| 1f; 2f |] "frozen"
            w.requires_grad_ true |> ignore
            optimizer.Step()
            equal (values w) [| 0f; 1f |] "thawed"
        }
    ]

// Refusals

let private refusesTensor<'e when 'e :> exn> name (words: string list) (make: unit -> Tensor) =
    test $"refused: {name}" { refuses<'e> name ("'w'" :: words) (fun () -> plain [ "w", make () ] |> ignore) }

let private refusesGradient<'e when 'e :> exn> name (words: string list) (make: unit -> Tensor) =
    test $"refused: a gradient {name}" {
        let moving, w = leaf [ 2L; 3L ] (floats 1 6), leaf [ 2L; 3L ] (floats 1 6)
        let optimizer = plain [ "moving", moving; "w", w ]
        moving.grad <- torch.ones [| 2L; 3L |]
        w.grad <- make ()
        refuses<'e> name ("'w'" :: words) optimizer.Step
        equal (values moving) (floats 1 6) "nothing moved"
    }

let private refusals =
    [
        refusesTensor<ArgumentException> "int64" [ "int64" ] (fun () -> zeros torch.int64 [ 3L ])
        refusesTensor<ArgumentException> "bool" [ "bool" ] (fun () -> zeros torch.bool [ 3L ])
        refusesTensor<NotSupportedException> "another device" [ "meta" ] (fun () -> torch.zeros ([| 3L |], device = torch.device "meta"))
        refusesTensor<NotSupportedException> "a sparse parameter" [ "sparse" ] (fun () -> torch.eye(3L).to_sparse())
        refusesTensor<NotSupportedException> "repeated elements" [ "expand" ] (fun () -> torch.zeros([| 3L; 1L |]).expand [| 3L; 4L |])
        refusesGradient<ArgumentException> "of another shape" [ "[3, 2]"; "[2, 3]" ] (fun () -> torch.zeros [| 3L; 2L |])
        refusesGradient<ArgumentException> "of fewer rows" [ "[1, 3]"; "[2, 3]" ] (fun () -> torch.zeros [| 1L; 3L |])
        refusesGradient<NotSupportedException> "of another dtype" [ "float64"; "float32" ] (fun () -> zeros torch.float64 [ 2L; 3L ])
        refusesGradient<NotSupportedException> "on another device" [ "meta" ] (fun () ->
            torch.zeros ([| 2L; 3L |], device = torch.device "meta"))
        refusesTensor<NotSupportedException> "a conjugated view" [ "resolve_conj" ] (fun () -> (zeros torch.complex64 [ 3L ]).conj())
        refusesTensor<NotSupportedException> "a negated view" [ "resolve_neg" ] (fun () ->
            torch.imag ((zeros torch.complex64 [ 3L ]).conj()))

        test "refused: a non-leaf, as PyTorch says it" {
            let computed = leaf [ 2L ] [| 1f; 2f |] * torch.tensor 2f

            refuses<ArgumentException> "non-leaf" [ "can't optimize a non-leaf Tensor"; "'w'" ] (fun () ->
                named [ "w", computed ] |> ignore)
        }

        test "refused: a tensor of inference mode" {
            let tensor =
                use _ = torch.inference_mode true
                torch.zeros [| 3L |]

            refuses<ArgumentException> "inference" [ "'w'"; "inference mode" ] (fun () -> named [ "w", tensor ] |> ignore)
        }

        test "refused: no tensor" {
            refuses<ArgumentNullException> "null" [ "tensor" ] (fun () -> TorchParameter("w", Unchecked.defaultof<Tensor>) |> ignore)
        }
    ]

let tests = [ testList "identity" identity; testList "refusals" refusals ]
