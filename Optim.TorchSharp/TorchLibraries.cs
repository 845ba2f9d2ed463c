using System.Reflection;
using System.Runtime.InteropServices;
using TorchSharp;

namespace Optim;

/// <summary>
/// Finds libtorch and TorchSharp's native half, and says what is missing. TorchSharp, left alone, names a missing package whatever the cause is,
/// and copies 600 MB beside the program where it finds that package in NuGet's cache.
/// </summary>
internal static class TorchLibraries
{
    private const string Sharp = "LibTorchSharp";

    private static string System =>
        OperatingSystem.IsWindows() ? "win"
        : OperatingSystem.IsMacOS() ? "osx"
        : "linux";

    private static string Platform => $"{System}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";

    // NuGet's folder of a package has its name in lower case; libtorch's packages have no other.
    private static string Package => $"libtorch-cpu-{Platform}";

    private static string Cache =>
        Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } cache
            ? cache
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    /// <inheritdoc cref="Torch.Load"/>
    public static void Load()
    {
        if (NativeLibrary.TryLoad(Sharp, typeof(torch).Assembly, null, out _))
            return;
        try
        {
            LoadFromCache();
        }
        catch (DllNotFoundException error)
        {
            throw new NotSupportedException(Message(error.Message), error);
        }
    }

    // One after the other by their paths: what the last one needs is then there, and needs no place where the loader looks.
    private static void LoadFromCache()
    {
        var torch = Natives(Package, Version("libtorch"));
        var sharp = Natives("torchsharp", Version("TorchSharp"));
        // Refuses with the loader's own words about the places where it looked.
        if (!Directory.Exists(torch) || !Directory.Exists(sharp))
            NativeLibrary.Load(Sharp, typeof(global::TorchSharp.torch).Assembly, null);
        foreach (var name in (ReadOnlySpan<string>)["torch_cpu", "torch"])
            NativeLibrary.Load(Path.Combine(torch, FileName(name)));
        NativeLibrary.Load(Path.Combine(sharp, FileName(Sharp)));
    }

    private static string Natives(string package, string version) => Path.Combine(Cache, package, version, "runtimes", Platform, "native");

    private static string FileName(string library) =>
        System switch
        {
            "win" => $"{library}.dll",
            "osx" => $"lib{library}.dylib",
            _ => $"lib{library}.so",
        };

    private static string Message(string loader) =>
        loader.Contains("GLIBCXX_", StringComparison.Ordinal)
            ? "libtorch could not be loaded: this system's C++ library (libstdc++) is older than that of GCC 13, which TorchSharp's native library "
                + "needs (GLIBCXX_3.4.32). Use Debian 13, Ubuntu 24.04 or later, or build the forwarding library that the README of the package "
                + "Optim.TorchSharp describes under 'Older Linux', and name its folder in LD_LIBRARY_PATH."
        : Directory.Exists(Natives(Package, Version("libtorch"))) ? $"libtorch could not be loaded: {Line(loader)}"
        : $"libtorch {Version("libtorch")} is not installed: it is neither beside the program, nor where the system's loader looks, nor in NuGet's "
            + $"cache, {Cache}. Add it to a project: dotnet add package {Package} --version {Version("libtorch")}, and "
            + $"dotnet add package TorchSharp --version {Version("TorchSharp")}, then dotnet restore.";

    private static string Line(string text) => string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));

    private static string Version(string of) =>
        typeof(TorchLibraries).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(data => data.Key == of).Value!;
}
