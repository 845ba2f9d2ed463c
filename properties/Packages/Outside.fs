/// Projects outside of the repository that use the packages: what packs them, makes projects of templates, and runs the SDK on these.
module Outside

open System
open System.Diagnostics
open System.IO
open System.IO.Compression
open System.Runtime.InteropServices
open System.Text.RegularExpressions
open Expecto

/// The repository, whose build output this program is.
let private root =
    let rec above (folder: DirectoryInfo | null) =
        match folder with
        | null -> failtest "the tests of packages run from within the repository"
        | folder when File.Exists(Path.Combine(folder.FullName, "Optim.sln")) -> folder.FullName
        | folder -> above folder.Parent

    lazy (above (DirectoryInfo AppContext.BaseDirectory))

let repository (path: string) = Path.Combine(root.Value, path)

/// Whether it is an error when no package feed can be reached, or there is no linker for Native AOT: so in CI.
let required = Environment.GetEnvironmentVariable "OPTIM_REQUIRE_PACKAGES" = "1"

let skipUnlessRequired why =
    if required then
        failtestf "%s, and OPTIM_REQUIRE_PACKAGES is 1" why
    else
        skiptest why

/// Everything of a run lies in one folder of the system's temporary ones.
let private work =
    lazy
        (let folder = Directory.CreateTempSubdirectory "optim-packages-"
         AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> folder.Delete true)
         folder.FullName)

/// The packages of others stay from run to run, and those that the repository itself uses are taken from its own cache.
let private cache = lazy (repository "obj/outside")

let private home =
    match Environment.GetEnvironmentVariable "NUGET_PACKAGES" with
    | null
    | "" -> Path.Combine(Environment.GetFolderPath Environment.SpecialFolder.UserProfile, ".nuget", "packages")
    | folder -> folder

/// The version of a package in paket.lock.
let locked (package: string) =
    Regex.Match(File.ReadAllText(repository "paket.lock"), $@"(?m)^    {Regex.Escape package} \((.+)\)").Groups[1].Value

/// The package of libtorch for this system.
let libtorch =
    let system =
        if OperatingSystem.IsWindows() then "win"
        elif OperatingSystem.IsMacOS() then "osx"
        else "linux"

    $"libtorch-cpu-{system}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}"

type Outcome =
    {
        Code: int
        Output: string
        Error: string
    }

/// Runs a program to its end, with these variables of the environment (null removes one).
let execute (folder: string) (variables: (string * string | null) list) (file: string) (arguments: string list) =
    let start =
        ProcessStartInfo(
            file,
            arguments,
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    // A user's shell knows nothing of what the tests run with.
    for name in [ "LD_LIBRARY_PATH"; "CI"; "MSBuildSDKsPath"; "MSBUILD_EXE_PATH" ] do
        start.Environment.Remove name |> ignore

    for name, value in variables do
        match value with
        | null -> start.Environment.Remove name |> ignore
        | value -> start.Environment[name] <- value

    use child = nonNull (Process.Start start)
    child.StandardInput.Close()

    let output, error =
        child.StandardOutput.ReadToEndAsync(), child.StandardError.ReadToEndAsync()

    if not (child.WaitForExit(TimeSpan.FromMinutes 8.0)) then
        child.Kill true
        failtestf "%s %s did not end" file (String.Join(' ', arguments))

    {
        Code = child.ExitCode
        Output = output.Result.ReplaceLineEndings "\n"
        Error = error.Result.ReplaceLineEndings "\n"
    }

/// The packages: made by the command for it, once a run. In CI these are the libraries that are tested.
let private feed =
    lazy
        (let feed = Path.Combine(work.Value, "feed")
         let inherited = Environment.GetEnvironmentVariable "CI"

         let packed =
             if OperatingSystem.IsWindows() then
                 execute root.Value [ "CI", inherited ] "dotnet" [ "pack"; "Optim.sln"; "-c"; "Release"; "-o"; feed ]
             else
                 execute root.Value [ "CI", inherited ] (repository "optim") [ "pack"; feed ]

         Expect.equal packed.Code 0 $"./optim pack: {packed.Output}{packed.Error}"

         for stale in Directory.CreateDirectory(cache.Value).GetDirectories "optim*" do
             stale.Delete true

         feed)

/// A package of these, open for reading.
let package (id: string) (extension: string) =
    let isIt (path: string) =
        Regex.IsMatch(Path.GetFileName path, $@"^{Regex.Escape id}\.\d.*\.{extension}$")

    match Directory.GetFiles feed.Value |> Array.filter isIt with
    | [| path |] -> ZipFile.OpenRead path
    | found -> failtestf "%d packages %s (%s)" found.Length id extension

let text (package: ZipArchive) (entry: string) =
    use reader = new StreamReader((nonNull (package.GetEntry entry)).Open())
    reader.ReadToEnd().ReplaceLineEndings "\n"

/// The version of all of them.
let version =
    lazy
        (use tool = package "Optim.Tool" "nupkg"
         Regex.Match(text tool "Optim.Tool.nuspec", "<version>(.+)</version>").Groups[1].Value)

/// A block of code in a package's README: the first in a language.
let block (id: string) (language: string) =
    use package = package id "nupkg"

    let found =
        Regex.Match(text package "README.md", $@"(?ms)^```{language}\n(.*?)^```$")

    Expect.isTrue found.Success $"the README of {id} has a block of {language}"
    found.Groups[1].Value

/// What a shell outside has.
let private variables () =
    [
        "NUGET_PACKAGES", cache.Value
        "RestoreFallbackFolders", home
        "OptimVersion", version.Value
        "Libtorch", libtorch
        "LibtorchVersion", locked libtorch
        // No server that stays, and texts that do not depend on where this runs.
        "UseSharedCompilation", "false"
        "MSBUILDDISABLENODEREUSE", "1"
        "DOTNET_CLI_UI_LANGUAGE", "en"
        "LC_ALL", "C"
        "DOTNET_NOLOGO", "1"
        "DOTNET_CLI_TELEMETRY_OPTOUT", "1"
    ]

/// A new folder with a feed of the packages. With the name of a template, a project made from it.
let folder (name: string) =
    let path = Path.Combine(work.Value, name)

    if not (Directory.Exists path) then
        Directory.CreateDirectory path |> ignore

        File.WriteAllText(
            Path.Combine(path, "NuGet.config"),
            $"""<configuration><packageSources><add key="optim" value="{feed.Value}" /></packageSources></configuration>"""
        )

        let template = Path.Combine(AppContext.BaseDirectory, "Packages", "templates", name)

        if Directory.Exists template then
            for file in Directory.GetFiles template do
                File.Copy(file, Path.Combine(path, Path.GetFileName file))

    path

/// Runs the SDK in such a folder. Where a package of others cannot be fetched, the test is skipped, unless it is required.
let dotnet (folder: string) (more: (string * string | null) list) (arguments: string list) =
    let outcome = execute folder (variables () @ more) "dotnet" arguments
    let all = outcome.Output + outcome.Error

    let unreachable =
        Regex.Match(all, @"NU1301.*|NU110[0-3]: Unable to (?:find|resolve) (?:package )?'?(?!Optim).*")

    if outcome.Code <> 0 && unreachable.Success then
        skipUnlessRequired $"no feed has a package that it takes: {unreachable.Value}"

    outcome

let succeeded (what: string) (outcome: Outcome) =
    Expect.equal outcome.Code 0 $"{what}:\n{outcome.Output}{outcome.Error}"
    outcome.Output
