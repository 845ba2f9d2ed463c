using System.Text.Encodings.Web;
using System.Text.Json;

namespace Optim.Bench;

/// <summary>One result: microseconds of a step on either side, the peer's over ours, and the managed bytes of one of our steps.</summary>
internal sealed record Row(
    string Rule,
    string List,
    string Dtype,
    int Threads,
    string Parameters,
    string Peer,
    double OursUs,
    double PeerUs,
    double Ratio,
    double Bytes,
    string Executor,
    IReadOnlyDictionary<string, double> Options
)
{
    public const string Host = "host",
        TorchSharp = "torchsharp",
        Cuda = "cuda";
}

/// <summary>What it ran on.</summary>
internal sealed record Machine(string Cpu, int WidestBits, int Cores, string Runtime)
{
    public static Machine Here { get; } =
        new(
            Name(),
            Kernels.Lanes.WidestBits,
            Environment.ProcessorCount,
            System.Runtime.InteropServices.RuntimeInformation.FrameworkDescription
        );

    private static string Name()
    {
        const string CpuInfo = "/proc/cpuinfo";
        var line = File.Exists(CpuInfo)
            ? File.ReadLines(CpuInfo).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return line?.Split(':', 2)[1].Trim()
            ?? Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER")
            ?? System.Runtime.InteropServices.RuntimeInformation.OSDescription;
    }
}

/// <summary>The file of results: the rows, and after them the machine.</summary>
internal static class Json
{
    private static readonly JsonSerializerOptions options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static void Save(string path, IEnumerable<Row> rows)
    {
        var lines = rows.Cast<object>().Append(Machine.Here).Select(row => JsonSerializer.Serialize(row, row.GetType(), options));
        File.WriteAllText(path, $"[\n{string.Join(",\n", lines)}\n]\n");
    }
}
