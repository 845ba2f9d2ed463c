/// The public surface of each library is a file in properties/api. A change of it is seen in review, and made on purpose:
/// OPTIM_API=properties/api makes the tests write the files anew, into that folder.
module ApiTests

open System
open System.IO
open System.Reflection
open Expecto

let rec private typeName (t: Type) =
    match t with
    | t when t.IsByRef || t.IsPointer || t.IsArray ->
        typeName (nonNull (t.GetElementType()))
        + (if t.IsByRef then "&"
           elif t.IsPointer then "*"
           else "[]")
    | t when t.IsGenericType ->
        let arguments = t.GetGenericArguments() |> Array.map typeName |> String.concat ", "
        $"{t.Name.Split('`')[0]}<{arguments}>"
    | t -> t.Name

let private parameters (method: MethodBase) =
    method.GetParameters()
    |> Array.map (fun p ->
        $"{typeName p.ParameterType} {p.Name}"
        + (if p.IsOptional then " = " + string p.DefaultValue else ""))
    |> String.concat ", "

let private visible (method: MethodBase | null) =
    match method with
    | null -> false
    | method -> method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly

let private members (t: Type) =
    let all =
        BindingFlags.Public
        ||| BindingFlags.NonPublic
        ||| BindingFlags.Instance
        ||| BindingFlags.Static
        ||| BindingFlags.DeclaredOnly

    let shared isStatic = if isStatic then "static " else ""

    [
        for c in t.GetConstructors all do
            if visible c && not c.IsStatic then
                $"  new({parameters c})"
        for m in t.GetMethods all do
            if visible m && not m.IsSpecialName && not (m.Name.Contains '.') then
                let generic =
                    if m.IsGenericMethod then
                        "<" + (m.GetGenericArguments() |> Array.map _.Name |> String.concat ", ") + ">"
                    else
                        ""

                $"  {shared m.IsStatic}{typeName m.ReturnType} {m.Name}{generic}({parameters m})"
            elif visible m && m.Name.StartsWith "op_" then
                $"  static {typeName m.ReturnType} {m.Name}({parameters m})"
        for p in t.GetProperties all do
            if visible p.GetMethod || visible p.SetMethod then
                let accessors =
                    (if visible p.GetMethod then "get; " else "")
                    + (if visible p.SetMethod then "set; " else "")

                $"  {typeName p.PropertyType} {p.Name} {{ {accessors}}}"
        for f in t.GetFields all do
            if f.IsPublic && not f.IsSpecialName then
                $"  {shared f.IsStatic}{typeName f.FieldType} {f.Name}"
    ]
    |> List.sortWith (fun a b -> String.CompareOrdinal(a, b))

let private surface (assembly: Assembly) =
    [
        for t in
            assembly.GetExportedTypes()
            |> Array.sortWith (fun a b -> String.CompareOrdinal(a.FullName, b.FullName)) do
            $"{t.Namespace}.{typeName t}"
            yield! members t
    ]

let private libraries =
    [
        typeof<Optim.Kernels.Layout>
        typeof<Optim.Core.Tree>
        typeof<Optim.CheckpointException>
        typeof<Optim.Core.State>
        typeof<Optim.Optimizer>
        typeof<Optim.Cuda.CudaException>
        typeof<Optim.Torch>
        typeof<Optim.Distributed.World>
    ]
    |> List.map _.Assembly

/// Modules for F# alone, of curried functions, and the class that is the same for other languages.
let private forFSharp =
    dict
        [
            for rule in Optim.Core.Rules.All do
                $"{rule.Name}Module", "Rules"
            "LBFGSModule", "LBFGSAlgorithm"
            "RuleModule", "RuleOf`1"
            "Field", "RuleOf`1"
            "ColumnSpec", "RuleOf`1"
            "DeclarationModule", "RuleOf`1"
            "ExecutionModule", "RuleOf`1"
            "IntervalModule", "Interval"
            "ScheduleModule", "Schedule"
            "ChainableModule", "Chainable"
            "ParametersModule", "Parameters"
            "GradientsModule", "Gradients"
            "GradientModule", "Gradient"
            "OptionValuePatterns", "OptionValue"
            "RuleDefinitions", "DefinedRule"
            "WholeDefinitions", "WholeRules"
            "Chain", "Chains"
            "Sam", "SAM"
            "Sharded", "Sharded"
        ]

/// Parameters and properties that may be anything, by type and name. Options have a type: IOptimizerOptions, or a record's own.
let private mayBeAnything =
    [
        "IParameter.loss"
        "IParameter.Identity"
        "TorchParameter.loss"
        "TorchParameter.Identity"
        "TensorView.owner"
        "TensorView.Owner"
    ]

let private fsharpTypes = typeof<int list>.Assembly

let rec private isOfFSharp (t: Type) =
    t.Assembly = fsharpTypes
    || t.HasElementType && isOfFSharp (nonNull (t.GetElementType()))
    || t.IsGenericType && t.GetGenericArguments() |> Array.exists isOfFSharp

/// What a caller sees of a type: members, by name, and the types in their signatures.
let private seen (t: Type) =
    let all =
        BindingFlags.Public
        ||| BindingFlags.Instance
        ||| BindingFlags.Static
        ||| BindingFlags.DeclaredOnly

    [
        for m in t.GetMethods all do
            if
                not (List.contains m.Name [ "Equals"; "CompareTo" ])
                && not (typeof<Delegate>.IsAssignableFrom t)
            then
                m.Name, m.ReturnType

                for p in m.GetParameters() do
                    $"{p.Name}", p.ParameterType
        for c in t.GetConstructors() do
            if not (typeof<Delegate>.IsAssignableFrom t) then
                for p in c.GetParameters() do
                    $"{p.Name}", p.ParameterType
        for p in t.GetProperties all do
            p.Name, p.PropertyType
        for f in t.GetFields all do
            f.Name, f.FieldType
    ]

let private exported =
    libraries
    |> List.collect (fun library -> List.ofArray (library.GetExportedTypes()))

[<Tests>]
let callers =
    testList
        "public API, callers"
        [
            test "C# meets no types of F#: a module that has them is for F#, and a class does the same" {
                for t in exported @ [ typeof<Optim.Laws.Laws> ] do
                    if not (forFSharp.ContainsKey t.Name) then
                        for name, signature in seen t do
                            Expect.isFalse (isOfFSharp signature) $"{t.FullName}.{name}: {typeName signature}"
            }
            test "each module for F# has its class, and is listed for a reason" {
                for KeyValue(name, other) in forFSharp do
                    let t = exported |> List.find (fun t -> t.Name = name)
                    Expect.exists exported (fun t -> t.Name = other) $"{other}, for {name}"

                    // Functions that take functions, lists or results; or a module beside a class of the same members.
                    Expect.isTrue (seen t |> List.exists (snd >> isOfFSharp) || name = other + "Module") name
            }
            test "options have a type" {
                for t in exported do
                    for name, signature in seen t do
                        let name = $"{t.Name}.{name}".Replace("get_", "")

                        if signature = typeof<obj> && not (List.contains name mayBeAnything) then
                            failtest $"{name} is an object"
            }
        ]

[<Tests>]
let tests =
    testList
        "public API"
        [
            for assembly in libraries do
                let name = assembly.GetName().Name

                test $"{name} is as recorded" {
                    let recorded = Path.Combine(AppContext.BaseDirectory, "api", $"{name}.txt")
                    let found = surface assembly

                    match Environment.GetEnvironmentVariable "OPTIM_API" with
                    | null
                    | "" ->
                        Expect.sequenceEqual
                            found
                            (File.ReadAllLines recorded)
                            "if the change is meant, write the file anew (see ApiTests.fs)"
                    | folder -> File.WriteAllLines(Path.Combine(folder, $"{name}.txt"), found)
                }

                test $"{name}: parameters have names of their own, and nothing is ordered, or untyped, by accident" {
                    let found = surface assembly

                    for line in found do
                        for accident in [ "_arg"; "'"; "Delegate " ] do
                            Expect.isFalse (line.Contains accident && not (line.Contains " = ")) $"{accident} in {line}"

                    for t in assembly.GetExportedTypes() do
                        if not t.IsEnum then
                            Expect.isFalse (typeof<IComparable>.IsAssignableFrom t) $"{t.FullName} is IComparable"
                }
        ]
