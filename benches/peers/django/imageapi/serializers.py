"""The JSON of images and of expiring links."""

from pathlib import Path

from django.core.validators import FileExtensionValidator
from django.urls import reverse
from rest_framework import serializers

from .models import ExpiringLink, Image, Thumbnail, file_name


class ImageSerializer(serializers.Serializer):
    # the extension alone is checked
    file = serializers.FileField(
        write_only=True, validators=[FileExtensionValidator(["png", "jpg", "jpeg"])]
    )

    def create(self, validated_data):
        file = validated_data["file"]
        title = file.name.split(".")[0]
        file.name = file_name(title, Path(file.name).suffix)
        return Image.objects.create(owner=validated_data["owner"], title=title, file=file)

    def to_representation(self, image):
        tier = image.tier
        links = self.url("expiring-links", pk=image.pk) if tier.expiring_links else ""
        return {
            "pk": image.pk,
            "title": image.title,
            "file_urls": self.file_urls(image, tier),
            "expiring_link_generator": links,
            "uploaded_at": serializers.DateTimeField().to_representation(image.uploaded_at),
        }

    def file_urls(self, image, tier):
        urls = {}
        if tier.original_access:
            urls["original"] = self.url("original", name=Path(image.file.name).name)
        names = {thumbnail.height: thumbnail.name for thumbnail in image.thumbnails.all()}
        for height in tier.heights:
            if height not in names:
                name = file_name(image.title, image.extension)
                defaults = {"name": name}
                row, _ = Thumbnail.objects.get_or_create(image=image, height=height, defaults=defaults)
                names[height] = row.name
            urls[f"{height} px high"] = self.url("resized", name=names[height])
        return urls

    def url(self, view, **arguments):
        return self.context["request"].build_absolute_uri(reverse(view, kwargs=arguments))


class ExpiringLinkSerializer(serializers.ModelSerializer):
    link = serializers.SerializerMethodField()
    valid_for = serializers.IntegerField(min_value=300, max_value=30_000)

    class Meta:
        model = ExpiringLink
        fields = ["link", "expiration", "valid_for"]
        read_only_fields = ["expiration"]

    def create(self, validated_data):
        return ExpiringLink.make(validated_data["image"], validated_data["valid_for"])

    def get_link(self, link):
        url = reverse("expiring", kwargs={"id": link.id})
        return self.context["request"].build_absolute_uri(url)
