/// Every public member of a library is called with null, empty and default values, one after the other: it answers, or says in words
/// what is wrong with which argument.
module HostileCalls

// Objects of any type are what it is about.
#nowarn "3559" "3387" "3388" "3389" "3395"

open System
open System.Collections.Generic
open System.Collections.Immutable
open System.Reflection
open System.Threading
open Microsoft.FSharp.Reflection
open Expecto
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
let private closings =
    [
        typeof<float>
        typeof<AdamOptions>
        typeof<Real>
        typeof<float32>
        typeof<IParameter>
        typeof<AdamFormula>
        typeof<TensorView>
    ]

let private genericOf (t: Type) =
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

let private defaultOf (t: Type) : objnull =
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

/// A delegate, or a function of F#, that gives a value.
let private functionOf (t: Type) (result: Type -> objnull) : obj =
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

let private isFunction (t: Type) =
    FSharpType.IsFunction t
    || (typeof<Delegate>.IsAssignableFrom t && not t.IsAbstract && t <> typeof<Delegate>)

/// What a test calls members with; more values that are right may be given.
type Caller(libraries: Assembly list, more: (Type * (unit -> objnull)) list, folder: string) =
    let values = dict (basics @ more |> List.rev |> List.distinctBy (fst >> _.FullName))

    // Types that begin with < hold what the compiler notes of extension blocks; nobody can call them.
    let exported =
        libraries
        |> List.collect (fun library -> List.ofArray (library.GetExportedTypes()))
        |> List.filter (fun t -> not (t.Name.StartsWith('<')))

    let isOurs (t: Type) = List.contains t.Assembly libraries

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

    let rec right depth (t: Type) : objnull voption =
        if t.IsByRef then
            right depth (nonNull (t.GetElementType()))
        elif values.ContainsKey t then
            ValueSome(values[t]())
        elif depth > 5 then
            ValueNone
        elif t.IsEnum then
            ValueSome((Enum.GetValues t).GetValue 0)
        elif t.IsArray then
            let element = nonNull (t.GetElementType())

            right (depth + 1) element
            |> ValueOption.map (fun item -> box (arrayOf element [ item ]))
        elif isSequence t then
            let element = t.GetGenericArguments()[0]

            right (depth + 1) element
            |> ValueOption.map (fun item -> box (arrayOf element [ item ]))
        elif isFunction t then
            ValueSome(functionOf t (right (depth + 1) >> ValueOption.defaultValue null))
        elif t.IsGenericType && genericOf t = typedefof<list<_>> then
            let element = t.GetGenericArguments()[0]

            right (depth + 1) element
            |> ValueOption.map (fun item -> listOf element (arrayOf element [ item ]))
        elif t.IsGenericType && genericOf t = typedefof<ImmutableArray<_>> then
            let element = t.GetGenericArguments()[0]

            right (depth + 1) element
            |> ValueOption.map (fun item -> immutableOf element (arrayOf element [ item ]))
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
        elif t.IsArray then
            let element = nonNull (t.GetElementType())
            [ null; arrayOf element []; arrayOf element [ defaultOf element ] ]
        elif isSequence t then
            let element = t.GetGenericArguments()[0]
            [ null; arrayOf element []; arrayOf element [ defaultOf element ] ]
        elif t.IsGenericType && genericOf t = typedefof<list<_>> then
            let element = t.GetGenericArguments()[0]

            [
                null
                listOf element (arrayOf element [])
                listOf element (arrayOf element [ defaultOf element ])
            ]
        elif t.IsGenericType && genericOf t = typedefof<ImmutableArray<_>> then
            let element = t.GetGenericArguments()[0]

            [
                defaultOf t
                immutableOf element (arrayOf element [])
                immutableOf element (arrayOf element [ defaultOf element ])
            ]
        elif isFunction t then
            [ null; functionOf t defaultOf ]
        elif t.IsValueType then
            [ defaultOf t ]
        else
            null :: hollow t

    let closedTypes (t: Type) =
        if t.ContainsGenericParameters then
            closings
            |> List.tryPick (fun closing ->
                quietly (fun () -> ValueSome(t.MakeGenericType [| for _ in t.GetGenericArguments() -> closing |]))
                |> ValueOption.toOption)
            |> Option.toList
        else
            [ t ]

    let rec combinations count =
        if count = 0 then
            [ [] ]
        else
            [
                for first in closings do
                    for rest in combinations (count - 1) -> first :: rest
            ]

    let closedMethods (m: MethodInfo) =
        if m.ContainsGenericParameters then
            combinations (m.GetGenericArguments().Length)
            |> List.tryPick (fun closing ->
                quietly (fun () -> ValueSome(m.MakeGenericMethod(List.toArray closing)))
                |> ValueOption.toOption)
            |> Option.toList
        else
            [ m ]

    let all =
        BindingFlags.Public
        ||| BindingFlags.Instance
        ||| BindingFlags.Static
        ||| BindingFlags.DeclaredOnly

    let failures = ResizeArray<string>()
    let mutable calls = 0
    let mutable members = 0
    let mutable current = ""

    let text (value: objnull) =
        match value with
        | null -> "null"
        | :? string as s -> $"\"{s}\""
        | :? Array as a when a.Length = 0 -> "[]"
        | :? Array as a when isNull (a.GetValue 0) -> "[null]"
        | value -> $"{value.GetType().Name}"

    let nullability = NullabilityInfoContext()

    /// Whether a parameter says that it takes no null.
    let mustBeThere (parameter: ParameterInfo) =
        let t = parameter.ParameterType

        not (t.IsValueType || t.IsByRef || t.IsGenericParameter)
        && (nullability.Create parameter).WriteState = NullabilityState.NotNull

    /// Whether it makes or changes a record, a case of a union or an exception, which hold what they are given.
    let isHolder (m: MethodBase) =
        let t = nonNull m.DeclaringType

        let isRecord =
            FSharpType.IsRecord t
            || FSharpType.IsUnion t
            || typeof<exn>.IsAssignableFrom t
            || t.GetMethods()
               |> Array.exists (fun m -> m.Name.StartsWith("<Clone>", StringComparison.Ordinal))
            || t = typeof<Device>
            || typeof<RealReader>.IsAssignableFrom t
            || genericOf t = typedefof<Reader<Real>>

        isRecord
        && (m.IsConstructor
            || m.Name.StartsWith("New", StringComparison.Ordinal)
            || m.Name.StartsWith("set_", StringComparison.Ordinal)
            || m.Name = "Of")

    /// Errors that say what is wrong; the others are accidents.
    let isInWords (error: exn) =
        match error with
        | :? ArgumentException
        | :? InvalidOperationException
        | :? NotSupportedException
        | :? KeyNotFoundException
        | :? FormatException
        | :? IO.IOException -> true
        // Conversions of values of no fixed type, such as those of options.
        | :? InvalidCastException as e -> not (e.Message.StartsWith("Unable to cast", StringComparison.Ordinal))
        | _ -> false

    /// Whether the call went well; `isRight` says whether it does with values that are right.
    let judge (m: MethodBase) (instance: objnull) (given: objnull array) (changed: int) (isRight: bool) : bool =
        calls <- calls + 1
        let parameters = m.GetParameters()

        let described =
            let argument =
                if changed >= 0 then
                    $"{parameters[changed].Name}: {text given[changed]}"
                elif changed = -2 then
                    "on what is hollow"
                else
                    "right"

            let owner = nonNull m.DeclaringType
            $"{owner.Namespace}.{owner.Name}.{m.Name}({argument})"

        current <- described

        try
            let result =
                match m with
                | :? ConstructorInfo as c -> c.Invoke given
                | m -> m.Invoke(instance, given)

            match result with
            | :? Collections.IEnumerable as found when not (result :? string) ->
                let items = found.GetEnumerator()
                let mutable left = 3

                while left > 0 && items.MoveNext() do
                    left <- left - 1
            | _ -> ()

            // Hooks are taken away again, and what was lent is given back.
            match result with
            | :? IDisposable as result when isNull instance || not (obj.ReferenceEquals(result, instance)) -> result.Dispose()
            | _ -> ()

            if
                changed >= 0
                && isNull given[changed]
                && not (isHolder m)
                && mustBeThere parameters[changed]
            then
                failures.Add $"{described} accepts null"

            true
        with error ->
            let error =
                match error with
                | :? TargetInvocationException as outer -> nonNull outer.InnerException
                | error -> error

            let accident =
                match error with
                | :? ArgumentException as e when isRight && changed >= 0 && isNull given[changed] ->
                    // Nothing was given: the message must say for which argument.
                    let name = nonNull parameters[changed].Name

                    if e.Message.Contains(name, StringComparison.OrdinalIgnoreCase) then
                        ""
                    else
                        "does not name the argument: "
                | error when isInWords error -> ""
                | _ -> "is an accident: "

            if accident <> "" then
                failures.Add $"{described} {accident}{error.GetType().Name} {error.Message}"

            false

    let callAll (m: MethodBase) (instance: unit -> objnull voption) =
        let parameters = m.GetParameters()

        let given () =
            parameters
            |> Array.map (fun p ->
                if p.Name = "path" then
                    box (IO.Path.Combine(folder, "file.pt"))
                else
                    right 0 p.ParameterType |> ValueOption.defaultValue null)

        let canCall = parameters |> Array.forall (fun p -> (right 0 p.ParameterType).IsSome)

        let call change changed isRight =
            match instance () with
            | ValueSome instance ->
                let given = given ()
                change given
                judge m instance given changed isRight
            | ValueNone -> false

        members <- members + 1
        let isRight = canCall && call ignore -1 false

        for i in 0 .. parameters.Length - 1 do
            for value in hostile parameters[i].ParameterType do
                call (fun given -> given[i] <- value) i isRight |> ignore

    let callMembers (t: Type) (except: string list) =
        let isModule = t.IsAbstract && t.IsSealed

        for c in constructors t do
            if not t.IsAbstract && not (typeof<Delegate>.IsAssignableFrom t) then
                callAll c (fun () -> ValueSome null)

        if not (typeof<Delegate>.IsAssignableFrom t) then
            for m in t.GetMethods all do
                // Comparisons of records are the compiler's.
                let isCompilers =
                    List.contains m.Name [ "CompareTo"; "Equals"; "GetHashCode"; "BeginInvoke"; "EndInvoke" ]

                // Only an initializer or `with` sets it, on an object that nobody else has yet; here it might be a shared one.
                let isInit =
                    Array.contains typeof<System.Runtime.CompilerServices.IsExternalInit> (m.ReturnParameter.GetRequiredCustomModifiers())

                let isLeft =
                    except
                    |> List.exists (fun left -> ($"{t.Name}.{m.Name}").StartsWith(left, StringComparison.Ordinal))

                if
                    invokable m
                    && not (isLeft || isCompilers || isInit || m.IsStatic && m.IsAbstract)
                then
                    for m in closedMethods m do
                        if m.IsStatic then
                            // What a whole process shares is left as it is.
                            if not (m.Name.StartsWith("set_", StringComparison.Ordinal)) then
                                callAll m (fun () -> ValueSome null)
                        elif not isModule then
                            callAll m (fun () -> right 0 t)

                            for instance in (if t.IsValueType then [ defaultOf t ] else hollow t) do
                                let given = m.GetParameters() |> Array.map (fun p -> right 0 p.ParameterType)

                                if given |> Array.forall _.IsSome then
                                    judge m instance (given |> Array.map _.Value) -2 false |> ignore

    /// Calls everything, but for members of these names ("Type.Member"); what went wrong, and how much was called.
    member _.Run(except: string list, limit: TimeSpan) =
        let work () =
            for t in exported do
                for t in closedTypes t do
                    callMembers t except

        let mutable crash: exn | null = null

        let thread =
            Thread(
                (fun () ->
                    try
                        work ()
                    with e ->
                        crash <- e),
                64 <<< 20
            )

        thread.IsBackground <- true
        thread.Start()

        if not (thread.Join limit) then
            failures.Add $"{current} hangs"

        match crash with
        | null -> ()
        | e -> failures.Add $"{current}: the test itself failed: {e}"

        struct (List.ofSeq failures, members, calls)

/// Runs it and tells of what went wrong.
let check libraries more except =
    Kit.inFolder (fun file ->
        let struct (failures, members, calls) =
            Caller(libraries, more, file ".").Run(except, TimeSpan.FromMinutes 2.0)

        if not failures.IsEmpty then
            let list = String.Join("\n", failures)
            failtestf "%d of %d calls:\n%s" failures.Length calls list

        // Fewer would mean that it does not find its way any more.
        members)

/// They come last: what they set may stay. An average that is applied and never given back makes all later steps look for it.
let tests =
    testSequenced
    <| testList
        "null, empty and default arguments"
        [
            testCase "the public members of kernels, core and shell answer, or say in words what is wrong" (fun () ->
                let libraries =
                    [
                        typeof<Layout>
                        typeof<Tree>
                        typeof<CheckpointException>
                        typeof<State>
                        typeof<Optimizer>
                    ]
                    |> List.map _.Assembly

                // It would take all values for parts of checkpoints from then on. And it calls the function that it is given, which is no function here.
                let members = check libraries [] [ "Checkpoint.Register"; "Sam.step" ]
                Expect.isGreaterThan members 900 "members that were called")
        ]
