/// Every public member of a library is called with null, empty and default values, one after the other: it answers, or says in words
/// what is wrong with which argument.
module HostileCalls

// Objects of any type are what it is about.
#nowarn "3559" "3387" "3388" "3389" "3395"

open System
open System.Collections.Generic
open System.Reflection
open System.Threading
open Microsoft.FSharp.Reflection
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open HostileArguments

/// Calls all members of libraries; more values that are right may be given.
type Caller(libraries: Assembly list, more: (Type * (unit -> objnull)) list, folder: string) =
    let arguments = Arguments(libraries, more)

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
                    arguments.Right p.ParameterType |> ValueOption.defaultValue null)

        let canCall =
            parameters |> Array.forall (fun p -> (arguments.Right p.ParameterType).IsSome)

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
            for value in arguments.Hostile parameters[i].ParameterType do
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
                            callAll m (fun () -> arguments.Right t)

                            for instance in
                                (if t.IsValueType then
                                     [ defaultOf t ]
                                 else
                                     arguments.Hollow t) do
                                let given =
                                    m.GetParameters() |> Array.map (fun p -> arguments.Right p.ParameterType)

                                if given |> Array.forall _.IsSome then
                                    judge m instance (given |> Array.map _.Value) -2 false |> ignore

    /// Calls everything, but for members of these names ("Type.Member"); what went wrong, and how much was called.
    member _.Run(except: string list, limit: TimeSpan) =
        let work () =
            for t in arguments.Exported do
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
