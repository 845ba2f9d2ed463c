/// What the public members of a library are called with: values that are right, made by whatever makes them, and null, empty and default ones.
module HostileArguments

// Objects of any type are what it is about.
#nowarn "3559" "3387" "3388" "3389" "3395"

open System
open System.Collections.Generic
open System.Collections.Immutable
open System.Reflection
open Microsoft.FSharp.Reflection
open Optim
open Optim.Core
open Optim.Kernels

/// The kernels have expressions of their own.
type private Expression = System.Linq.Expressions.Expression

let private view () = TensorView.Of [| 1.0f; 2.0f; 3.0f |]

let private param () =
    let w = Param.Zeros("w", DType.Float32, 3L)
    w.SetGradient(view ())
    w

let private adam () =
    Adam([ param () :> IParameterOrGroup ]) :> Optimizer

let private adamState () =
    Adam.init Adam.defaults (Parameters.Of [ view () ])

let private prepared () =
    Adam.rule.Prepare(Adam.defaults, Parameters.Of [ view () ], Gradients.OfDense [ view () ], adamState ())

/// Values that are right, made anew for each call: states are spent, and tensors written.
let private basics: (Type * (unit -> objnull)) list =
    [
        typeof<string>, (fun () -> "lr")
        typeof<obj>, (fun () -> Adam.defaults)
        typeof<IOptimizerOptions>, (fun () -> Adam.defaults)
        typeof<nativeint>, (fun () -> 0n)
        typeof<int>, (fun () -> 1)
        typeof<int64>, (fun () -> 1L)
        typeof<float>, (fun () -> 0.5)
        typeof<float32>, (fun () -> 0.5f)
        typeof<bool>, (fun () -> true)
        typeof<Real>, (fun () -> Real 0.5)
        typeof<DType>, (fun () -> DType.Float32)
        typeof<Device>, (fun () -> Device.Cpu)
        typeof<Layout>, (fun () -> (view ()).Layout)
        typeof<TensorView>, (fun () -> view ())
        typeof<Gradient>, (fun () -> Gradient.OfDense(view ()))
        typeof<Parameters>, (fun () -> Parameters.Of [ view () ])
        typeof<Gradients>, (fun () -> Gradients.OfDense [ view () ])
        typeof<State>, adamState >> box
        typeof<Column>, (fun () -> (adamState ()).Columns[0])
        typeof<Counts>, (fun () -> (adamState ()).Counts)
        typeof<LBFGSState>, (fun () -> LBFGS.init LBFGS.defaults (Parameters.Of [ view () ]))
        typeof<AverageState>, (fun () -> Average.init (Parameters.Of [ view () ]))
        typeof<PreparedStep>, prepared >> box
        typeof<Rule>, (fun () -> Adam.rule)
        typeof<Algorithm>, (fun () -> Adam.rule)
        typeof<OptionValue>, (fun () -> OptionValue.Float 0.5)
        typeof<Tree>, (fun () -> Tree.Dict [| struct ("a", Tree.Int 1L) |])
        typeof<TreeMap>, (fun () -> (Tree.Dict [| struct ("a", Tree.Int 1L) |]).AsMap())
        typeof<TreeKey>, (fun () -> TreeKey.Text "a")
        typeof<Executor>, (fun () -> Executor.Caller)
        typeof<IParameter>, param >> box
        typeof<IParameterOrGroup>, param >> box
        typeof<Optimizer>, adam >> box
        typeof<StateDict>, (fun () -> (adam ()).StateDict())
        typeof<IStateful>, adam >> box
        typeof<LRScheduler>, (fun () -> StepLR(adam (), 2))
        typeof<GradientClip>, (fun () -> ClipGradNorm 1.0)
        typeof<PerGroup>, (fun () -> PerGroup.op_Implicit 0.5)
        typeof<Delegate>, (fun () -> box (Func<float>(fun () -> 0.5)))
        typeof<Schedule>, (fun () -> Schedule.cosine 3.0)
    ]

/// Types to close generic members with.
let closings =
    [
        typeof<float>
        typeof<AdamOptions>
        typeof<Real>
        typeof<float32>
        typeof<IParameter>
        typeof<AdamFormula>
        typeof<TensorView>
    ]

let genericOf (t: Type) =
    if t.IsGenericType then t.GetGenericTypeDefinition() else t

let private isSequence (t: Type) =
    t.IsInterface
    && t.IsGenericType
    && List.contains
        (genericOf t)
        [
            typedefof<IEnumerable<_>>
            typedefof<IReadOnlyList<_>>
            typedefof<IReadOnlyCollection<_>>
            typedefof<IList<_>>
            typedefof<ICollection<_>>
        ]

let defaultOf (t: Type) : objnull =
    if t.IsValueType then Activator.CreateInstance t else null

let private arrayOf (element: Type) (items: objnull list) =
    let array = Array.CreateInstance(element, items.Length)
    items |> List.iteri (fun i item -> array.SetValue(item, i))
    array

let private listOf (element: Type) (items: Array) =
    typeof<list<int>>
        .Assembly.GetType("Microsoft.FSharp.Collections.ListModule")
        .GetMethod("OfArray")
        .MakeGenericMethod(element)
        .Invoke(null, [| box items |])

let private immutableOf (element: Type) (items: Array) =
    typeof<ImmutableArray>.GetMethods()
    |> Array.find (fun m ->
        let parameters = m.GetParameters()

        m.Name = "Create"
        && parameters.Length = 1
        && parameters[0].ParameterType.IsArray)
    |> fun m -> m.MakeGenericMethod(element).Invoke(null, [| box items |])

/// What a collection of a type holds, and how it is made of items.
let private collectionOf (t: Type) : (Type * (objnull list -> objnull)) option =
    let isGeneric definition =
        t.IsGenericType && genericOf t = definition

    if t.IsArray then
        let element = nonNull (t.GetElementType())
        Some(element, arrayOf element >> box)
    elif isSequence t then
        let element = t.GetGenericArguments()[0]
        Some(element, arrayOf element >> box)
    elif isGeneric typedefof<list<_>> then
        let element = t.GetGenericArguments()[0]
        Some(element, arrayOf element >> listOf element)
    elif isGeneric typedefof<ImmutableArray<_>> then
        let element = t.GetGenericArguments()[0]
        Some(element, arrayOf element >> immutableOf element)
    else
        None

/// A delegate, or a function of F#, that gives a value.
let functionOf (t: Type) (result: Type -> objnull) : obj =
    if FSharpType.IsFunction t then
        let rec make (t: Type) =
            let _, range = FSharpType.GetFunctionElements t

            FSharpValue.MakeFunction(
                t,
                fun _ ->
                    if FSharpType.IsFunction range then
                        make range
                    else
                        result range
            )

        make t
    else
        let invoke = nonNull (t.GetMethod "Invoke")

        let parameters =
            invoke.GetParameters()
            |> Array.map (fun p -> Expression.Parameter(p.ParameterType, p.Name))

        let body: Expression =
            if invoke.ReturnType = typeof<Void> then
                Expression.Empty()
            else
                Expression.Convert(Expression.Constant(result invoke.ReturnType, typeof<obj>), invoke.ReturnType)

        Expression.Lambda(t, body, parameters).Compile()

let isFunction (t: Type) =
    FSharpType.IsFunction t
    || (typeof<Delegate>.IsAssignableFrom t && not t.IsAbstract && t <> typeof<Delegate>)

let quietly action =
    try
        action ()
    with _ ->
        ValueNone

let invokable (m: MethodBase) =
    m.GetParameters()
    |> Array.forall (fun p ->
        let t =
            if p.ParameterType.IsByRef then
                nonNull (p.ParameterType.GetElementType())
            else
                p.ParameterType

        not (t.IsByRefLike || t.IsPointer || t.IsFunctionPointer))

let constructors (t: Type) =
    t.GetConstructors() |> Array.filter invokable |> Array.toList

/// What members are called with; more values that are right may be given.
type Arguments(libraries: Assembly list, more: (Type * (unit -> objnull)) list) =
    let values = dict (basics @ more |> List.rev |> List.distinctBy (fst >> _.FullName))

    // Types that begin with < hold what the compiler notes of extension blocks; nobody can call them.
    let exported =
        libraries
        |> List.collect (fun library -> List.ofArray (library.GetExportedTypes()))
        |> List.filter (fun t -> not (t.Name.StartsWith('<')))

    let isOurs (t: Type) = List.contains t.Assembly libraries

    let rec right depth (t: Type) : objnull voption =
        if t.IsByRef then
            right depth (nonNull (t.GetElementType()))
        elif values.ContainsKey t then
            ValueSome(values[t]())
        elif depth > 5 then
            ValueNone
        elif t.IsEnum then
            ValueSome((Enum.GetValues t).GetValue 0)
        elif isFunction t then
            ValueSome(functionOf t (right (depth + 1) >> ValueOption.defaultValue null))
        elif (collectionOf t).IsSome then
            let element, make = (collectionOf t).Value
            right (depth + 1) element |> ValueOption.map (fun item -> make [ item ])
        elif t.IsGenericType && genericOf t = typedefof<Nullable<_>> then
            right (depth + 1) (t.GetGenericArguments()[0])
        else
            let statics (isDefault: bool) =
                seq {
                    for source in Seq.append [ t ] exported do
                        if not source.ContainsGenericParameters then
                            for p in source.GetProperties(BindingFlags.Public ||| BindingFlags.Static) do
                                if
                                    t.IsAssignableFrom p.PropertyType
                                    && p.GetIndexParameters().Length = 0
                                    && p.Name.StartsWith("default", StringComparison.OrdinalIgnoreCase) = isDefault
                                then
                                    quietly (fun () -> ValueSome(p.GetValue null))
                }

            let derived =
                seq {
                    for other in Seq.append [ t ] exported do
                        if
                            t.IsAssignableFrom other
                            && not (other.IsAbstract || other.ContainsGenericParameters)
                        then
                            for c in constructors other do
                                quietly (fun () ->
                                    let given =
                                        c.GetParameters() |> Array.map (fun p -> right (depth + 1) p.ParameterType)

                                    if given |> Array.forall _.IsSome then
                                        ValueSome(c.Invoke(given |> Array.map _.Value))
                                    else
                                        ValueNone)
                }

            let isThere (value: objnull voption) =
                match value with
                | ValueSome(NonNull _) -> true
                | _ -> false

            match Seq.concat [ statics true; derived; statics false ] |> Seq.tryFind isThere with
            | Some value -> value
            | None when t.IsValueType -> ValueSome(defaultOf t)
            | None -> ValueNone

    /// A record or class of ours that was made of nothing: numbers are 0, and all else is null.
    let hollow (t: Type) : objnull list =
        if isOurs t && not t.IsAbstract && not t.ContainsGenericParameters then
            [
                for c in constructors t do
                    match quietly (fun () -> ValueSome(c.Invoke(c.GetParameters() |> Array.map (fun p -> defaultOf p.ParameterType)))) with
                    | ValueSome value -> value
                    | ValueNone -> ()
            ]
        else
            []

    let hostile (t: Type) : objnull list =
        let t = if t.IsByRef then nonNull (t.GetElementType()) else t

        if t = typeof<string> then
            [ null; "" ]
        elif t = typeof<float> then
            [ 0.0; nan; -1.0 ]
        elif t = typeof<int> then
            [ 0; -1 ]
        elif t = typeof<int64> then
            [ 0L; -1L ]
        elif t.IsEnum then
            [ defaultOf t; Enum.ToObject(t, 77) ]
        elif (collectionOf t).IsSome then
            let element, make = (collectionOf t).Value
            [ defaultOf t; make []; make [ defaultOf element ] ]
        elif isFunction t then
            [ null; functionOf t defaultOf ]
        elif t.IsValueType then
            [ defaultOf t ]
        else
            null :: hollow t

    /// The types that can be called.
    member _.Exported = exported

    /// A value that is right for a parameter of a type, if there is one.
    member _.Right(t: Type) = right 0 t

    /// Records and classes of a type that were made of nothing: numbers are 0, and all else is null.
    member _.Hollow(t: Type) = hollow t

    /// Values that a parameter of a type may not be prepared for.
    member _.Hostile(t: Type) = hostile t
