using System.Globalization;
using System.Text.RegularExpressions;
using Optim.Core;

namespace Optim;

/// <summary>
/// The layer of each parameter by its name, from 0 at the input: what <see cref="ParameterGroups.LayerDecay"/> goes by where it is given no function.
/// </summary>
/// <remarks>
/// Blocks are what carries a number behind a word for repeated parts (block, layer, stage, cell, level, group or h, in the singular or the plural): blocks.3,
/// layer2.0, stages.1.blocks.0, encoder.layer.11. What a stage has beside its blocks (layers.1.downsample) belongs to its first block. What comes before
/// the first block (patch_embed, conv1, embeddings) is layer 0. What comes behind the last one is the last layer, but for a normalization (norm, ln_f,
/// final_norm), which belongs to the last block. This gives the layers that timm has for its families of models.
/// </remarks>
public static class LayerOrder
{
    private static readonly Regex block = new(
        @"(?:\A|\.|_)(?:blocks?|layers?|stages?|cells?|levels?|groups?|h)[._]?(?<outer>\d+)(?=\.|\z)(?:\.(?:(?:[a-z_]*(?:blocks?|layers?|cells?|units?)[._]?)?(?<inner>\d+)(?=\.|\z))?)?",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture
    );

    private static readonly Regex norm = new(@"\G(?:final_|post_)?(?:norm|ln_f|layernorm|layer_norm)", RegexOptions.CultureInvariant);

    /// <summary>A function from names to layers, for the names of a model in its order.</summary>
    /// <exception cref="ArgumentException">No name has a block; the message shows names.</exception>
    public static Func<string, int> Of(IEnumerable<string> names)
    {
        ArgumentNullException.ThrowIfNull(names);
        string[] all = [.. names];
        if (all.Contains(null))
            throw new ArgumentException("a name is null", nameof(names));
        var keys = all.Select(Key).ToArray();
        var first = Array.FindIndex(keys, key => key is not null);
        if (first < 0)
            throw new ArgumentException(
                $"none of the names has a numbered block, such as blocks.3 or layer2.0, by which layers could be told; give a function from names to layers. There are: {LoadReport.List(all)}",
                nameof(names)
            );
        var blocks = keys.OfType<(int, int)>()
            .Distinct()
            .Order()
            .Select((key, i) => (key, i))
            .ToDictionary(pair => pair.key, pair => pair.i + 1);
        // A normalization behind the blocks stands where they stand: transformer.ln_f behind transformer.h, and not head.norm.
        var place = Place(all[first]);
        var found = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < all.Length; i++)
            found[all[i]] =
                keys[i] is { } key ? blocks[key]
                : i < first ? 0
                : all[i].StartsWith(place, StringComparison.Ordinal) && norm.IsMatch(all[i], place.Length) ? blocks.Count
                : blocks.Count + 1;
        return name =>
            name is not null && found.TryGetValue(name, out var layer)
                ? layer
                : throw new ArgumentException($"'{name}' is none of the names that the layers were told from", nameof(name));
    }

    /// <summary>What stands before the word of a block.</summary>
    private static string Place(string name)
    {
        var match = block.Match(name);
        return name[..(match.Index + (match.Value[0] is '.' or '_' ? 1 : 0))];
    }

    private static (int, int)? Key(string name)
    {
        var match = block.Match(name);
        if (!match.Success)
            return null;
        static int Number(Group group) =>
            group.Success && int.TryParse(group.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
        return (Number(match.Groups["outer"]), Number(match.Groups["inner"]));
    }
}
