namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// All that a definition can be, by its flags and by what its questions are answered for a parameter. Which columns there are is known from
/// the start: each answer of each question was tried. The programs of other combinations are made when a parameter has them.
[<Sealed>]
type internal DefinedVariants
    (
        rule: string,
        record: int list -> (Question -> int) -> RecordedDefinition,
        tried: (int list * (Question * int) list * RecordedDefinition) list,
        columns: DefinedColumn array,
        check: StepProgram -> unit
    ) =
    let questions =
        tried
        |> Seq.collect (fun (_, answers, _) -> Seq.map fst answers)
        |> Seq.distinctBy _.Key
        |> Seq.toArray

    let arrays =
        ResizeArray
            [
                StepProgram.Parameter
                StepProgram.Gradient
                for column in columns do
                    column.Name
            ]

    let made =
        Dictionary<struct (int list * int list), DefinedVariant>(HashIdentity.Structural)

    let uses = Dictionary<int list, ColumnUses>(HashIdentity.Structural)

    let bits (recordings: RecordedDefinition list) =
        let used =
            recordings
            |> List.collect (fun recording -> List.map (fun (column: DefinedColumn) -> column.Name) recording.Columns)
            |> set

        columns
        |> Seq.mapi (fun index column -> if used.Contains column.Name then 1L <<< index else 0L)
        |> Seq.sum

    let variant (recording: RecordedDefinition) =
        let program =
            try
                StepProgram(arrays, recording.Assignments, recording.Kept)
            with :? ArgumentException as wrong ->
                raise (ArgumentException $"{rule}: {wrong.Message}")

        check program

        if questions.Length > 0 then
            for node in program.Nodes.ToArray() do
                if Operations.IsReduction node.Operation && node.Value <> 0L && node.Name = "" then
                    raise (
                        ArgumentException
                            $"{rule}: a reduction over all parameters, and the definition tells parameters apart: write it as r.NormOverAll, r.SumOverAll or r.LargestOverAll, which are over all kinds"
                    )

        {
            Program = program
            Columns = recording.Columns
            Uses = ColumnUses(bits [ recording ], program.HasReductions || recording.InRowMajorOrder)
        }

    let of' flags (answers: int list) =
        lock made (fun () ->
            match made.TryGetValue(struct (flags, answers)) with
            | true, known -> known
            | _ ->
                let answer (question: Question) =
                    answers[questions |> Array.findIndex (fun known -> known.Key = question.Key)]

                let found = variant (record flags answer)
                made.Add(struct (flags, answers), found)
                found)

    /// Under each setting of the flags what was tried.
    member _.Tried = tried

    /// The programs that were tried under a setting of the flags.
    member _.AllUnder flags =
        [
            for of', _, recording in tried do
                if of' = flags then
                    variant recording
        ]

    /// All columns.
    member _.Columns = columns

    /// What the definition asks of parameters.
    member _.Questions = questions

    /// The one of a setting of the flags, for the first answers.
    member _.First flags = of' flags [ for _ in questions -> 0 ]

    /// The one of a setting of the flags, for a parameter.
    member _.For(flags, parameters: Parameters, row: int) =
        let answers =
            if questions.Length = 0 then
                []
            else
                let parameter = ParameterDescription.Of(parameters, row)

                [
                    for question in questions ->
                        let answer = question.Decide parameter

                        if answer < 0 || answer >= question.Alternatives then
                            raise (ArgumentException $"{rule}: no answer for {parameters.Label row}")

                        answer
                ]

        of' flags answers

    /// All columns that parameters may use under a setting of the flags: the same object for the same setting.
    member _.Uses flags =
        lock made (fun () ->
            match uses.TryGetValue flags with
            | true, known -> known
            | _ ->
                let recordings =
                    tried
                    |> List.filter (fun (of', _, _) -> of' = flags)
                    |> List.map (fun (_, _, recording) -> recording)

                let inOrder =
                    recordings
                    |> List.exists (fun recording -> (variant recording).Uses.InRowMajorOrder)

                let found = ColumnUses(bits recordings, inOrder)
                uses.Add(flags, found)
                found)

    /// The columns that some parameter has under a setting of the flags.
    member _.ColumnsUnder flags =
        set
            [
                for of', _, recording in tried do
                    if of' = flags then
                        for column in recording.Columns do
                            column.Name
            ]

module internal DefinedVariants =
    /// Runs a definition until each alternative of each of its questions was taken once.
    let explore (run: (Question -> int) -> RecordedDefinition) : ((Question * int) list * RecordedDefinition) list =
        let covered = HashSet<struct (string * int)>()
        let pending = Queue<Map<string, int>>([ Map.empty ])
        let found = ResizeArray()

        while pending.Count > 0 do
            let forced = pending.Dequeue()
            let asked = ResizeArray<Question * int>()

            let answer (question: Question) =
                match asked |> Seq.tryFind (fun (known, _) -> known.Key = question.Key) with
                | Some(_, answer) -> answer
                | None ->
                    let answer = forced |> Map.tryFind question.Key |> Option.defaultValue 0
                    asked.Add(question, answer)
                    answer

            let recording = run answer
            found.Add(List.ofSeq asked, recording)

            for question, answer in asked do
                covered.Add(struct (question.Key, answer)) |> ignore

            let mutable before = Map.empty

            for question, answer in asked do
                for other in 0 .. question.Alternatives - 1 do
                    if covered.Add(struct (question.Key, other)) then
                        pending.Enqueue(before.Add(question.Key, other))

                before <- before.Add(question.Key, answer)

        List.ofSeq found
