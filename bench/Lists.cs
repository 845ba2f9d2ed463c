using System.Text.Json;

namespace Optim.Bench;

/// <summary>A named list of parameters, by their shapes.</summary>
internal sealed record ParameterList(string Name, IReadOnlyList<long[]> Shapes)
{
    private const long K = 1024,
        M = K * K;

    public static readonly IReadOnlyList<ParameterList> All = [.. Single(), .. Named()];

    public long Count => Shapes.Sum(Size);

    public static long Size(long[] shape) => shape.Aggregate(1L, (product, length) => product * length);

    private static IEnumerable<ParameterList> Single()
    {
        (string, long)[] sizes =
        [
            ("1K", K),
            ("4K", 4 * K),
            ("16K", 16 * K),
            ("64K", 64 * K),
            ("256K", 256 * K),
            ("1M", M),
            ("16M", 16 * M),
            ("64M", 64 * M),
        ];
        return sizes.Select(size => new ParameterList(
            size.Item1,
            [
                [size.Item2],
            ]
        ));
    }

    private static IEnumerable<ParameterList> Named()
    {
        using var file = typeof(ParameterList).Assembly.GetManifestResourceStream("shapes.json")!;
        var shapes = JsonSerializer.Deserialize<Dictionary<string, long[][]>>(file)!;
        (string, string)[] names =
        [
            ("1000 x 1K", "1000 x 1K"),
            ("10000 x 64", "10000 x 64"),
            ("resnet50", "resnet50"),
            ("gpt2_124m", "gpt2_124m"),
            ("mlp", "mlp_784_64_10"),
        ];
        return
        [
            .. names.Select(name => new ParameterList(name.Item1, shapes[name.Item2])),
            Matrices("vit_b16 matrices", shapes["vit_b16"]),
            Matrices("mlp matrices", shapes["mlp_784_256_128_10"]),
        ];

        static ParameterList Matrices(string name, long[][] shapes) => new(name, [.. shapes.Where(shape => shape.Length == 2)]);
    }
}
