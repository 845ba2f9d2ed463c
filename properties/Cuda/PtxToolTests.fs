/// Kernels by a compiler that is not ours, where it is installed: clang's back end for PTX.
module PtxToolTests

open System
open System.Diagnostics
open System.Globalization
open System.IO
open System.Text
open System.Text.RegularExpressions
open Expecto
open Optim.Cuda
open Optim.Kernels
open ProgramKit
open PtxKit

/// Runs a program; none where it is not installed.
let run (program: string) (arguments: string list) =
    try
        use made =
            Process.Start(ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true))

        let errors = made.StandardError.ReadToEndAsync()
        let output = made.StandardOutput.ReadToEnd()
        made.WaitForExit()
        Some(made.ExitCode, output, errors.Result)
    with :? ComponentModel.Win32Exception ->
        None

/// The same code as a function in C of one element.
let private cText (code: KernelCode) =
    let real = if code.IsDouble then "double" else "float"
    let suffix = if code.IsDouble then "" else "f"
    let text = StringBuilder()
    let line (s: string) = text.Append(s).Append('\n') |> ignore

    let arrays =
        String.Join(", ", [ for use' in code.ArrayUses -> $"{real}* a{use'.Array}" ])

    line $"void kernel(long i, const {real}* n, {arrays}) {{"

    let number (value: float) =
        if code.IsDouble then
            value.ToString("R", CultureInfo.InvariantCulture)
            + (if value = Math.Floor value then ".0" else "")
        else
            (float32 value).ToString("R", CultureInfo.InvariantCulture)
            + (if value = Math.Floor value then ".0f" else "f")

    for place in 0 .. code.Nodes.Length - 1 do
        let node = code.Nodes[place]
        let a, b, c = $"v{node.A}", $"v{node.B}", $"v{node.C}"

        let value =
            match node.Operation with
            | Operation.Number -> $"n[{node.Value}]"
            | Operation.Load -> $"a{node.Value}[i]"
            | Operation.Constant -> number node.Constant
            | Operation.Add -> $"{a} + {b}"
            | Operation.Subtract -> $"{a} - {b}"
            | Operation.Multiply -> $"{a} * {b}"
            | Operation.Divide -> $"{a} / {b}"
            | Operation.Negate -> $"-{a}"
            | Operation.Sqrt -> $"__builtin_sqrt{suffix}({a})"
            | Operation.Fma -> $"__builtin_fma{suffix}({a}, {b}, {c})"
            | Operation.Abs -> $"__builtin_fabs{suffix}({a})"
            | Operation.Greater -> $"{a} > {b}"
            | Operation.IsNaN -> $"{a} != {a}"
            | Operation.Select -> $"{a} ? {b} : {c}"
            | Operation.Max -> $"{a} > {b} || {a} != {a} ? {a} : {b}"
            | Operation.Min -> $"{b} > {a} || {a} != {a} ? {a} : {b}"
            | other -> failtestf "%O in C" other

        let kind =
            match node.Operation with
            | Operation.Greater
            | Operation.IsNaN -> "int"
            | _ -> real

        line $"  const {kind} v{place} = {value};"

    for store in code.Stores do
        line $"  a{store.Array}[i] = v{store.Node};"

    line "}"
    text.ToString()

let private counted (instructions: string list) (text: string) =
    [
        for name in instructions -> name, Regex.Matches(text, $@"\t{Regex.Escape name}\s").Count
    ]

/// Formulas whose elements are whole numbers of the arithmetic, and which a compiler cannot make shorter.
let private compiled =
    [
        "ASGD"
        "Adadelta"
        "Adagrad"
        "Adam"
        "Adamax"
        "NAdam"
        "RAdam"
        "RMSprop"
        "SGD"
        "average"
    ]

let private clangTests =
    testSequenced
    <| test "clang's back end for PTX has the same products, quotients, roots and fused products for the same recordings" {
        match
            run "clang-14" [ "--print-targets" ]
            |> Option.orElse (run "clang" [ "--print-targets" ])
        with
        | Some(0, targets, _) when targets.Contains "nvptx64" ->
            let clang =
                if (run "clang-14" [ "--version" ]).IsSome then
                    "clang-14"
                else
                    "clang"

            let folder = Directory.CreateTempSubdirectory("optim-clang")

            try
                let programs =
                    [
                        for name, driver, _, _ in formulas |> List.filter (fun (name, _, _, _) -> List.contains name compiled) do
                            name, driver.Surrounded(0, Surroundings()), 0
                        // The move, behind the visit that sums squares up.
                        "Adafactor", AdafactorPrograms.Record(AdafactorKind.Matrices, false), 1
                    ]

                for name, program, visit in programs do
                    for dtype in [ DType.Float32; DType.Float64 ] do
                        let code = program.VisitsFor(dtype).[visit].Code
                        let source = Path.Combine(folder.FullName, "kernel.c")
                        File.WriteAllText(source, cText code)
                        let target = Path.Combine(folder.FullName, "kernel.ptx")

                        let arguments =
                            [
                                "--target=nvptx64"
                                "-O1"
                                "-ffp-contract=off"
                                "-fno-math-errno"
                                "-S"
                                "-o"
                                target
                                source
                            ]

                        match run clang arguments with
                        | Some(0, _, _) -> ()
                        | result -> failtestf "%s: %A" name result

                        let suffix = if code.IsDouble then "f64" else "f32"

                        let instructions =
                            [ "fma"; "mul"; "div"; "sqrt" ] |> List.map (fun each -> $"{each}.rn.{suffix}")

                        // Ours for one element: what is worked out once is there once, and the rest five times, for four elements and for one; or
                        // three times of float64.
                        let ours =
                            instructions
                            |> List.map (fun instruction ->
                                let operation =
                                    match instruction[..2] with
                                    | "fma" -> Operation.Fma
                                    | "mul" -> Operation.Multiply
                                    | "div" -> Operation.Divide
                                    | _ -> Operation.Sqrt

                                let of' uniform =
                                    code.Nodes
                                    |> Seq.indexed
                                    |> Seq.filter (fun (place, node) -> node.Operation = operation && code.IsUniform[place] = uniform)
                                    |> Seq.length

                                let once, each = of' true, of' false
                                let rendered = (ElementKernel.Render(code, false)).Text

                                Expect.equal
                                    (snd (List.head (counted [ instruction ] rendered)))
                                    (once + (if code.IsDouble then 3 else 5) * each)
                                    $"{name}: {instruction} of ours"

                                instruction, once + each)

                        Expect.equal (counted instructions (File.ReadAllText target)) ours $"{name}, {dtype.Name()}"
            finally
                folder.Delete true
        | _ -> skiptest "there is no clang with NVPTX"
    }

[<Tests>]
let tests = testList "ptx tools" [ clangTests ]
