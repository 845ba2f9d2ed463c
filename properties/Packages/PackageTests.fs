// Long, because all packages are tried by the same kit.
/// The packages, installed into projects outside of the repository as their READMEs say. Skipped where no feed can be reached,
/// unless OPTIM_REQUIRE_PACKAGES is 1.
module PackageTests

open System
open System.IO
open System.Reflection
open System.Reflection.Metadata
open System.Text
open System.Text.RegularExpressions
open System.Xml.Linq
open Expecto
open Outside

let private libraries =
    [
        "Optim.Kernels"
        "Optim.Trees"
        "Optim.Files"
        "Optim.Core"
        "Optim"
        "Optim.Distributed"
        "Optim.Cuda"
        "Optim.TorchSharp"
        "Optim.Laws"
    ]

/// Name and lowest version of what each asks for, beside those of this repository.
let private dependencies =
    dict
        [
            "Optim.Kernels", []
            "Optim.Trees", [ "Optim.Kernels"; "FSharp.Core 6.0.0" ]
            "Optim.Files", [ "Optim.Trees" ]
            "Optim.Core", [ "Optim.Files"; "FSharp.Core 6.0.0" ]
            "Optim", [ "Optim.Core" ]
            "Optim.Distributed", [ "Optim" ]
            "Optim.Cuda", [ "Optim.Kernels" ]
            "Optim.TorchSharp", [ "Optim"; "Optim.Cuda"; "TorchSharp 0.107.0" ]
            "Optim.Laws", [ "Optim"; "FSharp.Core 6.0.0"; "FsCheck 3.6.0" ]
            "Optim.Tool", []
        ]

let private nuspec id =
    use package = package id "nupkg"
    (nonNull (XDocument.Parse(text package $"{id}.nuspec")).Root)

let private element (name: string) (spec: XElement) =
    spec.Descendants()
    |> Seq.filter (fun e -> e.Name.LocalName = name)
    |> Seq.map _.Value
    |> Seq.tryHead
    |> Option.defaultValue ""

let private attribute (name: string) (e: XElement) =
    match e.Attribute(XName.Get name) with
    | null -> ""
    | found -> found.Value

let private contents =
    [
        for id in dependencies.Keys do
            test $"{id} says what it is, and asks for no more than it needs" {
                let spec = nuspec id
                let changelog = File.ReadAllText(repository "CHANGELOG.md")

                for name in [ "description"; "projectUrl"; "releaseNotes"; "authors" ] do
                    Expect.isNotEmpty (element name spec) name

                Expect.stringContains
                    (changelog.ReplaceLineEndings "\n")
                    ((element "releaseNotes" spec).ReplaceLineEndings "\n")
                    "release notes"

                Expect.equal (element "license" spec) "MIT" "licence"
                Expect.equal (element "version" spec) version.Value "one version"
                Expect.equal (Uri(element "projectUrl" spec)).Scheme "https" "address"

                let found =
                    [
                        for e in spec.Descendants() do
                            if e.Name.LocalName = "dependency" then
                                let name, version = attribute "id" e, attribute "version" e
                                Expect.isFalse ((attribute "exclude" e).Contains "Native") $"all natives of {name}"

                                if name.StartsWith "Optim" then
                                    name
                                else
                                    $"{name} {version}"
                    ]

                Expect.containsAll found dependencies[id] "dependencies"
                Expect.equal found.Length dependencies[id].Length $"no others: {found}"

                use package = package id "nupkg"
                let entries = [ for entry in package.Entries -> entry.FullName ]
                Expect.containsAll entries [ "README.md"; "icon.png" ] "files"

                if id = "Optim.TorchSharp" then
                    Expect.contains entries "names/OptimNames.cs" "the names that clash"

                Expect.isFalse
                    (entries
                     |> List.exists (fun e -> e.StartsWith "runtimes/" || e.Contains "libtorch"))
                    "no natives"

                let readme = text package "README.md"
                Expect.stringStarts readme $"# {id}\n" "README"
                Expect.isLessThan (readme.Split('\n').Length) 80 "a short README"
            }
        for id in libraries do
            test $"{id} has symbols that say where its sources are" {
                use symbols = package id "snupkg"
                let pdb = symbols.Entries |> Seq.find (fun entry -> entry.FullName.EndsWith ".pdb")
                use bytes = new MemoryStream()
                use stream = pdb.Open()
                stream.CopyTo bytes
                bytes.Position <- 0L
                use provider = MetadataReaderProvider.FromPortablePdbStream bytes
                let reader = provider.GetMetadataReader()
                let sourceLink = Guid "CC110556-A091-4D38-9FEC-25AB9A351A6A"

                let links =
                    [
                        for handle in reader.CustomDebugInformation do
                            let info = reader.GetCustomDebugInformation handle

                            if reader.GetGuid info.Kind = sourceLink then
                                Encoding.UTF8.GetString(reader.GetBlobBytes info.Value)
                    ]

                // Sources that are in no git checkout have no address.
                if Path.Exists(repository ".git") then
                    Expect.exists links (fun link -> link.Contains "https://") $"source link: {links}"
            }
    ]

/// A project of a template whose program is the first block of a package's README.
let private project template id language file =
    let path = folder template
    File.WriteAllText(Path.Combine(path, file), block id language)
    path

let private prints id output =
    Expect.equal output (block id "text") $"what the README of {id} says"

let private consoles =
    [
        test "a C# program prints what the README of Optim says, on the lowest FSharp.Core" {
            let path = project "console" "Optim" "csharp" "Program.cs"
            dotnet path [] [ "run" ] |> succeeded "dotnet run" |> prints "Optim"
            let core = Path.Combine(path, "bin", "Debug", "net10.0", "FSharp.Core.dll")
            Expect.equal (nonNull (AssemblyName.GetAssemblyName core).Version).Major 6 "FSharp.Core"
        }
        test "a C# program trains on two ranks, as the README of Optim.Distributed shows" {
            let path = project "distributed" "Optim.Distributed" "csharp" "Program.cs"
            dotnet path [] [ "run" ] |> succeeded "dotnet run" |> prints "Optim.Distributed"
        }
        test "an F# program prints what the README of Optim.Core says" {
            let path = project "fsharp" "Optim.Core" "fsharp" "Program.fs"
            dotnet path [] [ "run" ] |> succeeded "dotnet run" |> prints "Optim.Core"
        }
        test "an F# script prints what the README of Optim.Core says" {
            let path = folder "script"
            let program = block "Optim.Core" "fsharp"
            File.WriteAllText(Path.Combine(path, "line.fsx"), "#r \"nuget: Optim.Core\"\n" + program)

            dotnet path [] [ "fsi"; "line.fsx" ]
            |> succeeded "dotnet fsi"
            |> prints "Optim.Core"
        }
        test "an xunit project tests a rule of its own, as the README of Optim.Laws shows" {
            let path = project "xunit" "Optim.Laws" "fsharp" "Tests.fs"
            let output = dotnet path [] [ "test" ] |> succeeded "dotnet test"
            let passed = Regex.Match(output, @"Passed:\s+(\d+)")
            Expect.isTrue passed.Success output
            Expect.isGreaterThan (int passed.Groups[1].Value) 20 "laws"
        }
    ]

let private torchsharp =
    test "a C# program trains a TorchSharp model, as the README of Optim.TorchSharp shows" {
        let path = project "torchsharp" "Optim.TorchSharp" "csharp" "Program.cs"
        dotnet path [] [ "build" ] |> succeeded "dotnet build" |> ignore
        let program = Path.Combine("bin", "Debug", "net10.0", "program.dll")
        let plain = dotnet path [] [ program ]

        if plain.Code = 0 then
            prints "Optim.TorchSharp" plain.Output
        else
            // An older Linux: the error says so, and what the README says there helps.
            Expect.stringContains plain.Error "older than that of GCC 13" "the cause"
            Expect.stringContains plain.Error "'Older Linux'" "where to read on"
            use package = package "Optim.TorchSharp" "nupkg"

            let script, forward =
                Path.Combine(path, "forward-libstdcxx.sh"), Path.Combine(path, "forward")

            File.WriteAllText(script, text package "native/forward-libstdcxx.sh")

            execute path [] "bash" [ script; forward ]
            |> succeeded "forward-libstdcxx.sh"
            |> ignore

            dotnet path [ "LD_LIBRARY_PATH", forward ] [ program ]
            |> succeeded "with the forwarding library"
            |> prints "Optim.TorchSharp"
    }

let private gpuCheck =
    test "the check of GPUs is published as one file of at most 40 MB, which needs no SDK" {
        let path = Directory.CreateTempSubdirectory("optim-gpu-check-").FullName

        try
            dotnet
                path
                []
                [
                    "publish"
                    repository "samples/GpuCheck"
                    "-c"
                    "Release"
                    "-p:PublishSingleFile=true"
                    "--use-current-runtime"
                    "-o"
                    path
                ]
            |> succeeded "dotnet publish"
            |> ignore

            let file = Directory.GetFiles path |> Array.exactlyOne
            Expect.isLessThan (FileInfo(file).Length) 40_000_000L "bytes"
            let ran = execute path [ "DOTNET_ROOT", path ] file [ "--repetitions"; "0" ]
            Expect.equal ran.Code 1 "refused"
            Expect.stringContains ran.Error "--repetitions is 0; it must be at least 1" "it runs"
        finally
            Directory.Delete(path, true)
    }

/// Warnings of trimming that are about our libraries.
let private ours (output: string) =
    output.Split '\n'
    |> Array.filter (fun line -> Regex.IsMatch(line, @"warning IL\d+") && line.Contains "Optim")

let private published =
    test "a trimmed program and one of Native AOT give the bits of an ordinary one, in registers as wide" {
        let onPath (program: string) =
            (string (Environment.GetEnvironmentVariable "PATH")).Split Path.PathSeparator
            |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, program)))

        if not (OperatingSystem.IsWindows() || onPath "clang" || onPath "gcc") then
            skipUnlessRequired "Native AOT needs clang or gcc"

        let path = folder "native"
        File.Copy(repository "samples/OwnRule/OwnRuleCSharp/Lion.cs", Path.Combine(path, "Lion.cs"), true)

        let program kind =
            Path.Combine(
                path,
                kind,
                (if OperatingSystem.IsWindows() then
                     "program.exe"
                 else
                     "program")
            )

        let publish kind (properties: string list) =
            let output =
                dotnet path [] ([ "publish"; "--use-current-runtime"; "-o"; kind ] @ properties)
                |> succeeded $"dotnet publish, {kind}"

            Expect.isEmpty (ours output) "warnings about our libraries"
            execute path [] (program kind) [] |> succeeded kind

        let ordinary = dotnet path [] [ "run"; "-c"; "Release" ] |> succeeded "dotnet run"
        Expect.isGreaterThan (ordinary.Split('\n').Length) 40 "rules"
        Expect.equal (publish "trimmed" [ "-p:PublishTrimmed=true" ]) ordinary "trimmed"
        Expect.equal (publish "aot" [ "-p:PublishAot=true"; "-p:IlcInstructionSet=native" ]) ordinary "Native AOT"

        let asked =
            dotnet
                path
                []
                [
                    "msbuild"
                    "-getProperty:IlcInstructionSet"
                    "-p:RuntimeIdentifier=linux-x64"
                ]
            |> succeeded "dotnet msbuild"

        Expect.equal (asked.Trim()) "x86-64-v3" "what Native AOT compiles for by itself"
    }

let private tool =
    test "the tool does anywhere what its README says, and says what to install for --backend torchsharp" {
        let path = folder "tool"
        let tools = Path.Combine(path, "tools")

        dotnet
            path
            []
            [
                "tool"
                "install"
                "Optim.Tool"
                "--tool-path"
                tools
                "--version"
                version.Value
            ]
        |> succeeded "dotnet tool install"
        |> ignore

        let optim arguments =
            execute path [ "NUGET_PACKAGES", Path.Combine(path, "none") ] (Path.Combine(tools, "optim")) arguments

        use weights = new Optim.Param("layer.weight", [| 1f; 2f; 3f |])
        weights.SetGradient(ReadOnlySpan [| 1f; 1f; 1f |])
        let optimizer = Optim.AdamW [ weights ]

        for file in [ "run.pt"; "other.pt" ] do
            optimizer.Step()
            Optim.Checkpoint.Save(Path.Combine(path, file), struct ("optimizer", box optimizer))

        Optim.Checkpoint.Save(Path.Combine(path, "weights.safetensors"), struct ("model", box [| weights |]))

        for line in (block "Optim.Tool" "sh").Trim().Split '\n' do
            let command = line.Split('#')[0]
            let words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            Expect.equal words[0] "optim" line
            let output = optim (List.ofArray words[1..]) |> succeeded command

            if command.Contains "run.pt" then
                Expect.stringContains output "exp_avg" command

        let refused = optim [ "train"; "--backend"; "torchsharp"; "--epochs"; "1" ]
        Expect.equal refused.Code 1 "refused"

        let expected =
            if refused.Error.Contains "GCC 13" then
                [ "GLIBCXX_3.4.32" ]
            else
                [ $"dotnet add package {libtorch}"; "dotnet add package TorchSharp" ]

        for words in "--backend torchsharp: libtorch" :: expected do
            Expect.stringContains refused.Error words "what to do"
    }

[<Tests>]
let tests =
    testSequencedGroup "packages" (testList "packages" (contents @ consoles @ [ torchsharp; published; gpuCheck; tool ]))
