namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A number that a rule's coefficients read, and where it stands among the options: beta1 is part 0 of betas.
[<Struct>]
[<NoComparison>]
type OptionNumber =
    {
        /// As coefficients ask for it: the option's own name, or one for a part of a pair.
        Name: string
        /// The option.
        Option: string
        /// Which one of a pair; -1 for an option that is one number.
        Part: int
    }

/// Notes what it is asked for.
[<Sealed>]
type internal NotingReader() =
    inherit Reader<Real>()
    member val Noted = Dictionary<string, double>(StringComparer.Ordinal)

    override reader.Of(name, value) =
        reader.Noted[name] <- value
        Real value

/// Which options the coefficients of a rule read, found by changing one after the other and looking who notices.
module internal OptionNumbers =
    /// Every number that an option holds, and the options with another one in its place.
    let private changed (fields: Field<'o> seq) (options: 'o) =
        seq {
            for field in fields do
                let replaced part value =
                    match field.replace options value with
                    | Ok other -> Some(field.Name, part, other)
                    | Error _ -> None

                match field.Read options with
                | OptionValue.Float number -> yield! Option.toList (replaced -1 (OptionValue.Float(Math.BitIncrement number)))
                | OptionValue.Tuple(Items [ OptionValue.Float a; OptionValue.Float b ]) ->
                    let pair (a: double) (b: double) = OptionValue.op_Implicit (struct (a, b))

                    yield! Option.toList (replaced 0 (pair (Math.BitIncrement a) b))
                    yield! Option.toList (replaced 1 (pair a (Math.BitIncrement b)))
                | _ -> ()
        }

    /// The numbers that `read` asks its reader for.
    let numbers (fields: Field<'o> seq) (options: 'o) (read: Reader<Real> -> 'o -> unit) =
        let noted options =
            let reader = NotingReader()
            read reader options
            reader.Noted

        let before = noted options

        [
            for option, part, other in changed fields options do
                for KeyValue(name, value) in noted other do
                    match before.TryGetValue name with
                    | true, known when not (known.Equals value) ->
                        {
                            Name = name
                            Option = option
                            Part = part
                        }
                    | _ -> ()
        ]
